"""``python -m benchmarks``: search, run, report."""

from __future__ import annotations

if __name__ == "__main__":  # worker processes read this file too, and need none of the commands
    from benchmarks.cli import main

    main()
