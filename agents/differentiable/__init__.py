"""Search by gradient: a supernet whose architecture parameters are trained beside its weights."""
