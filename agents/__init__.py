"""Everything that searches, one algorithm a file."""
