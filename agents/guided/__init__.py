"""Agents that ask a model of what was measured where to measure next."""
