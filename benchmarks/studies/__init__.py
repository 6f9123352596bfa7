"""Single questions: what a reward leaves to be won, what stands for latency."""
