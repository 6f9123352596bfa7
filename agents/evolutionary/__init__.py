"""The parts of evolutionary search: first populations, selection, variation, replacement."""
