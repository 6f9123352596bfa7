"""Drivers: each speaks to one kind of device and measures networks on it."""
