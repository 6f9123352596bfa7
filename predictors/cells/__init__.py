"""NAS-Bench-201 cells: tables of them, their topology, features, graphs and splits."""
