"""Names devices: ``framed:/dev/ttyUSB0`` in one word, or with options in a TOML file."""

from __future__ import annotations

import inspect
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emnas_gym.errors import EmNASError, UnknownName
from emnas_gym.registry import TABLES, resolve
from hardware.drivers.base import Driver


@dataclass(frozen=True)
class DeviceSpec:
    """Which driver speaks to what, and how.

    Attributes:
        driver: A registered name, or an import string.
        address: What the driver opens: the URL of a port, a core, a file.
        options: Keywords of the driver.
    """

    driver: str
    address: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str, options: Mapping[str, Any] | None = None) -> DeviceSpec:
        """Reads ``driver:address``, or an address after an import string in brackets.

        Args:
            text: ``"emulated:cortex-m4"``, ``"host"``, ``"[my.boards:Board]:/dev/ttyUSB0"``.
            options: Keywords of the driver.
        """
        if text.startswith("[") and "]" in text:
            driver, _, rest = text[1:].partition("]")
            return cls(driver, rest.removeprefix(":"), options or {})
        driver, _, address = text.partition(":")
        return cls(driver, address, options or {})

    @property
    def name(self) -> str:
        """For people, and for records."""
        return f"{self.driver}:{self.address}" if self.address else self.driver

    @property
    def kind(self) -> type[Driver]:
        """The driver's class.

        Raises:
            UnknownName: If there is no such driver; the nearest names are listed.
            EmNASError: If it is no driver.
        """
        found = resolve("driver", self.driver)
        if not isinstance(found, type) or not issubclass(found, Driver):
            raise EmNASError(f"{self.driver!r} is no driver: a subclass of Driver is needed")
        return found

    @property
    def formats(self) -> tuple[str, ...]:
        """Files that a network must bring beside the int8 .tflite one."""
        return self.kind.formats_with(self.options)

    def open(self) -> Driver:
        """Opens the device.

        Raises:
            UnknownName: If there is no such driver, or it has no such option.
            EmNASError: If an option has a value of another type.
            DeviceError: If it cannot be opened, or does not answer.
            BackendMissing: If a package is missing.
        """
        make: Callable[..., Driver] = self.kind
        known = dict(inspect.signature(make).parameters)
        known.pop("address", None)
        for key, value in self.options.items():
            if key not in known:
                raise UnknownName(f"option of {self.driver}", key, known)
            _check_type(key, value, known[key].default)
        return make(self.address, **self.options)


def _check_type(key: str, value: object, default: object) -> None:
    """A value from a file is of the default's type; whole numbers do for others."""
    good = type(value) is type(default) or (type(default) is float and type(value) is int)
    if default is not None and default is not inspect.Parameter.empty and not good:
        raise EmNASError(
            f"option {key} = {value!r}: expected {type(default).__name__}, such as {default!r}"
        )


def parse_options(words: Sequence[str]) -> dict[str, Any]:
    """Reads ``key=value`` words; values are those of TOML, or else plain text.

    Raises:
        EmNASError: If there is no ``=``.
    """
    options: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise EmNASError(f"{word!r}: options are key=value")
        try:
            options[key] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            options[key] = value
    return options


def read_farm(path: Path) -> list[DeviceSpec]:
    """Reads a file of several devices.

    .. code-block:: toml

        [[device]]
        driver = "framed"
        address = "/dev/ttyUSB0"
        baud = 921600

    Raises:
        EmNASError: If it cannot be read, or a device has no driver.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise EmNASError(f"{path}: cannot be read as TOML: {error}") from error
    unknown = set(content) - {"device"}
    tables = content.get("device")
    if unknown or not isinstance(tables, list) or not tables:
        raise EmNASError(f"{path}: expected [[device]] tables, found {sorted(content)}")
    return [_read_device(path, number, table) for number, table in enumerate(tables, 1)]


def _read_device(path: Path, number: int, table: object) -> DeviceSpec:
    if not isinstance(table, dict) or not isinstance(table.get("driver"), str):
        known = ", ".join(sorted(TABLES["driver"]))
        raise EmNASError(f"{path}: device {number} needs driver = one of {known}")
    options = {key: value for key, value in table.items() if key not in ("driver", "address")}
    address = table.get("address", "")
    if not isinstance(address, str):
        raise EmNASError(f"{path}: device {number}: address is a text, not {address!r}")
    return DeviceSpec(table["driver"], address, options)
