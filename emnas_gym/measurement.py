"""What is known of one network: numbers with units in their names, each with its provenance."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from emnas_gym.errors import EmNASError

PROVENANCES = (
    "predicted",
    "analytic",
    "table",
    "trained",
    "host",
    "emulated-insn",
    "emulated-time",
    "board",
    "manual",
)
FIELDS = (
    "accuracy",
    "latency_ms",
    "energy_mj",
    "ram_bytes",
    "arena_head_bytes",
    "flash_bytes",
    "macs",
    "params",
    "instructions",
    "npu_cycles",
)
_PROVENANCES = frozenset(PROVENANCES)
WHOLE = frozenset(FIELDS) - {"accuracy", "latency_ms", "energy_mj"}  # fields of whole numbers


@dataclass(frozen=True)
class Measurement:
    """The measured values of one network; None where nothing is known.

    Attributes:
        accuracy: Share of images classified rightly, 0 … 1.
        latency_ms: One inference, batch 1.
        energy_mj: One inference.
        ram_bytes: Upper bound of the arena that the runtime needs (`costs.ram_bytes`).
        arena_head_bytes: The part of the arena that activations share.
        flash_bytes: Size of the int8 model file.
        macs: Multiply-accumulates of one inference.
        params: Trained and running values, batch norm's four a channel included.
        instructions: Instructions of one inference, where they were counted.
        npu_cycles: Cycles of one inference, where a compiler estimated them.
        feasible: What the device's own compiler said; None where nothing but budgets decides.
        seconds: Wall time that the measurement took; not compared.
        provenance: For each field that is not None, one of `PROVENANCES`.
    """

    accuracy: float | None = None
    latency_ms: float | None = None
    energy_mj: float | None = None
    ram_bytes: int | None = None
    arena_head_bytes: int | None = None
    flash_bytes: int | None = None
    macs: int | None = None
    params: int | None = None
    instructions: int | None = None
    npu_cycles: int | None = None
    feasible: bool | None = None
    seconds: float = field(default=0.0, compare=False)
    provenance: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Checks that every known field says where it comes from."""
        known = {name for name in FIELDS if getattr(self, name) is not None}
        if self.provenance.keys() != known or not _PROVENANCES.issuperset(self.provenance.values()):
            raise EmNASError(f"provenance {dict(self.provenance)} does not match fields {known}")

    @classmethod
    def of(cls, provenance: str, *, seconds: float = 0.0, **values: Any) -> Measurement:  # noqa: ANN401
        """Makes a measurement whose fields all have one provenance; None values are left out."""
        feasible = values.pop("feasible", None)
        known = {name: value for name, value in values.items() if value is not None}
        origin = dict.fromkeys(known, provenance)
        return cls(**known, feasible=feasible, seconds=seconds, provenance=origin)

    def overridden(self, later: Measurement) -> Measurement:
        """Returns this measurement with all that ``later`` knows put in its place."""
        values: dict[str, Any] = {}
        provenance: dict[str, str] = {}
        for name in FIELDS:
            source = later if getattr(later, name) is not None else self
            values[name] = getattr(source, name)
            if values[name] is not None:
                provenance[name] = source.provenance[name]
        feasible = self.feasible if later.feasible is None else later.feasible
        seconds = self.seconds + later.seconds
        return Measurement(**values, feasible=feasible, seconds=seconds, provenance=provenance)

    def to_json(self) -> dict[str, Any]:
        """Plain data without the unknown fields."""
        data = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "provenance"}
        known: dict[str, Any] = {name: value for name, value in data.items() if value is not None}
        return known | {"provenance": dict(self.provenance)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Measurement:
        """Reads what `to_json` wrote.

        Raises:
            EmNASError: If a field is unknown.
        """
        names = {f.name for f in fields(cls)}
        if not set(data) <= names:
            raise EmNASError(f"no such measurement: {sorted(set(data) - names)}")
        return cls(**data)


def merge(parts: Iterable[Measurement]) -> Measurement:
    """Merges measurements of one network; a later one overrides an earlier one's fields."""
    merged = Measurement()
    for part in parts:
        merged = merged.overridden(part)
    return merged
