"""Cheaper than full training: what is trained less, extrapolated, inherited, or not trained."""
