"""``python -m agents``: list, describe, search, tune."""

from __future__ import annotations

from agents.cli import main

if __name__ == "__main__":
    main()
