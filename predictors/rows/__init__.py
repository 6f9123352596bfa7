"""What estimators must reach: a row of figures each, on rows that no choice has seen."""
