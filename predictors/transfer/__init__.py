"""Latency on a new device from a few measurements, with the help of devices that are known."""
