"""Whether a result holds: its winners replay to the rewards that it claims."""
