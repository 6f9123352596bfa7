"""Studies of search by gradient: what latency in the loss buys, and what guards prevent."""
