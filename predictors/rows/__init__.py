"""The required figures, one row a file: each `row` fits on its training part and reads the test."""
