"""Fitted models in numpy: what surrogate files hold, and what estimators predict by."""
