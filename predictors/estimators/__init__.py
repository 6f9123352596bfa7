"""Estimators with scikit-learn's rules, one a file; each predicts by a model in numpy."""
