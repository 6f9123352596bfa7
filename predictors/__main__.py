"""``python -m predictors``: collect, fit, evaluate, report."""

from __future__ import annotations

if __name__ == "__main__":
    from predictors.cli import main  # here, so that worker processes do not import the commands

    main()
