"""LENNA's data: gates drawn from architecture parameters, devices that they run on, and labels."""
