"""Suites: their files, their runs wherever these are computed, their results; TOML files beside."""
