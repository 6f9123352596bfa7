"""The report of a suite: its page, its Markdown, its tables for a terminal."""
