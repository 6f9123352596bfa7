"""``python -m hardware``: devices, measure, export, serve, doctor."""

from __future__ import annotations

import sys
from functools import partial

from emnas_gym.door import run_door

try:
    from hardware.cli import app
except ModuleNotFoundError as missing:
    if missing.name not in ("typer", "rich"):
        raise
    sys.exit(f"the commands need the package {missing.name}: pip install 'emnas-gym[report]'")

if __name__ == "__main__":
    run_door(
        partial(app, prog_name="python -m hardware"),
        "A table of --samples keeps what was measured: the same command goes on.",
    )
