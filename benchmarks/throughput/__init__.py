"""How fast the parts are on this machine, beside what others take."""
