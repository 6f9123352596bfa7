"""Everything that touches a device: export, interpreters, compilers and boards."""
