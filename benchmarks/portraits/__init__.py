"""How every agent searches a space whose best network is known: runs, figures, pictures, a page."""
