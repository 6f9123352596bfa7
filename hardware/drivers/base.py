"""What every driver can do: say who it speaks to, measure networks, let go."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from hardware.deployment import Deployment
from hardware.errors import DeviceError, DeviceRefused
from hardware.reading import Reading, Repeats

Answer = Reading | DeviceError
FOREIGN_STEPS = 16  # of the output: kernels that are not ours round otherwise


class Driver(ABC):
    """A connection to one device; a context manager that closes it.

    A subclass is made with the address of its device, and with options of its own as keywords
    that have defaults; `hardware.drivers.open_driver` passes them on from a name or a file.

    Attributes:
        formats: Files that a `Deployment` must bring beside the int8 .tflite one.
        batch: Networks that it likes to be given at once; 1 where they are run one by one.
    """

    formats: ClassVar[tuple[str, ...]] = ()
    batch: ClassVar[int] = 1

    @classmethod
    def formats_with(cls, options: Mapping[str, Any]) -> tuple[str, ...]:
        """`formats` of a driver that is made with these options."""
        return cls.formats

    @abstractmethod
    def describe(self) -> dict[str, str]:
        """What the device says of itself, for people: name, version, clock, memories.

        Raises:
            DeviceError: If it does not answer.
        """

    @abstractmethod
    def measure(self, deployment: Deployment, repeats: Repeats) -> Reading:
        """Runs a network on the device, and checks what it computed where it gives that back.

        Raises:
            DeviceRefused: If this network cannot run there; another one may.
            DeviceError: If the device failed; `ProtocolError` if the output is not the right one.
        """

    def measure_all(self, deployments: Sequence[Deployment], repeats: Repeats) -> list[Answer]:
        """Measures several networks; what one of them is refused for does not end the others.

        Raises:
            DeviceError: If the device failed, other than by refusing a network.
        """
        answers: list[Answer] = []
        for deployment in deployments:
            try:
                answers.append(self.measure(deployment, repeats))
            except DeviceRefused as refusal:
                answers.append(refusal)
        return answers

    @abstractmethod
    def close(self) -> None:
        """Releases the device; a second call does nothing."""

    def __enter__(self) -> Self:
        """Returns itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Releases the device."""
        self.close()
