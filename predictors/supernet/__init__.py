"""Networks of cells whose architectures share one set of weights."""
