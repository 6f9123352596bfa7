"""``python -m predictors``: collect, fit, evaluate, report."""

from __future__ import annotations

from predictors.cli import main

if __name__ == "__main__":
    main()
