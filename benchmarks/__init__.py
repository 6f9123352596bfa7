"""Where all meet: search, verification, comparison, reports."""
