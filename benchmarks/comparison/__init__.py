"""How runs are judged and compared: what one found, and what all of them say together."""
