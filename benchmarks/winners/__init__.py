"""What becomes of winners: they are really trained, and the best is exported."""
