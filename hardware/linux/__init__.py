"""The program that makes a Linux board a device: standard library, numpy and an interpreter."""
