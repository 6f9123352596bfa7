"""Writes the Linux agent as one file that a board can run."""

from __future__ import annotations

import zipfile
from pathlib import Path

from emnas_gym.errors import EmNASError
from hardware.linux.serve import FILES

FOLDER = Path(__file__).parent
PACKAGES = ("hardware", "hardware/link", "hardware/linux")
MAIN = "import sys\n\nfrom hardware.linux.serve import main\n\nsys.exit(main())\n"
SHEBANG = b"#!/usr/bin/env python3\n"
DATE = (1980, 1, 1, 0, 0, 0)  # the same sources make the same bytes


def write_bundle(path: Path) -> Path:
    """Writes the agent as a zip application: ``python3 agent.pyz --port /dev/ttyGS0``.

    Args:
        path: The file; its folder must be there.

    Raises:
        EmNASError: If it cannot be written.
    """
    contents = {f"{package}/__init__.py": b"" for package in PACKAGES}
    contents |= {f"hardware/{name}": (FOLDER / name).read_bytes() for name in FILES}
    contents["__main__.py"] = MAIN.encode("ascii")
    try:
        with path.open("wb") as file:
            file.write(SHEBANG)
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
                for name in sorted(contents):
                    entry = zipfile.ZipInfo(name, DATE)
                    entry.compress_type = zipfile.ZIP_DEFLATED
                    archive.writestr(entry, contents[name])
        path.chmod(0o755)
    except OSError as error:
        raise EmNASError(f"{path} cannot be written: {error.strerror or error}") from error
    return path
