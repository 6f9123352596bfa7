"""What runs blocks: a simulated device, torch and LiteRT on this machine, an NPU, a board."""
