"""Pages and tables of what was found: charts, templates, and a folder for each kind of page."""
