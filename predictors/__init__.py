"""Everything that estimates performance, from full training down to a formula."""
