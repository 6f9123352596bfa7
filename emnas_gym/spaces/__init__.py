"""The search spaces of the package, as TOML files."""
