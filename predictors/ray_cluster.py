"""Work on a Ray cluster: placed by resource, tried again where a worker dies, errors with names.

A board is a custom resource of the node that it hangs on (``ray start --resources``): a task that
measures asks for it, so that two tasks never share a board.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from emnas_gym.errors import EmNASError
from emnas_gym.version import __version__

REACH = 5.0  # seconds until a head that does not answer counts as unreachable
LOCAL = "local"  # starts a cluster of this machine alone


class ClusterUnreachable(EmNASError, ConnectionError):
    """No Ray cluster answers at an address, or it has ended."""


class PlacementError(EmNASError, ValueError):
    """No node of the cluster has what a task asks for."""


class WorkerLost(EmNASError, RuntimeError):
    """A task whose worker died each time that it was tried."""


@dataclass(frozen=True)
class Placement:
    """Where a task may run.

    Attributes:
        cpus: Cores that it takes.
        resources: Custom resources that it holds while it runs; see `board_resource`.
        tries: How often it is begun at most, where its worker or node dies.
    """

    cpus: float = 1.0
    resources: Mapping[str, float] = field(default_factory=dict)
    tries: int = 4


def board_resource(device: str) -> dict[str, float]:
    """The resource that a task holds while it measures on a board of a kind.

    Args:
        device: Name of the device; its node is started with
            ``ray start --resources '{"board:<device>": <number of boards>}'``.
    """
    return {f"board:{device}": 1.0}


class Cluster:
    """A connection to a Ray cluster.

    Args:
        address: ``host:port`` of the head, ``auto`` for the one of this machine, or ``local`` to
            start one that ends with this process; ``$RAY_ADDRESS``, else ``local``, if None. A
            connection that this process already has is used.

    Raises:
        ClusterUnreachable: If none answers there.
    """

    def __init__(self, address: str | None = None) -> None:
        self.address = address or os.environ.get("RAY_ADDRESS") or LOCAL
        self._ours = not ray.is_initialized()
        if self._ours:
            _connect(self.address)

    def each(
        self,
        work: Callable[..., Any],
        jobs: Sequence[tuple[Any, ...]],
        placement: Placement | None = None,
        shared: Sequence[Any] = (),
    ) -> Iterator[tuple[int, Any]]:
        """Does jobs, in whatever order they end.

        Args:
            work: A function of a module that every node can import.
            jobs: Its arguments, a tuple a job.
            placement: What each job needs.
            shared: First arguments of all jobs, sent once a node.

        Yields:
            Number of the job, and its result.

        Raises:
            PlacementError: If no node has what the jobs need.
            WorkerLost: If the worker of a job died at every try.
            ClusterUnreachable: If the cluster ended.
            EmNASError: As ``work`` raised it; what still runs is ended.
        """
        placement = placement or Placement()
        self._check_placement(placement)
        task = ray.remote(_do).options(
            num_cpus=placement.cpus, resources=dict(placement.resources), max_retries=0
        )
        kept = [ray.put(each) for each in shared]

        def begin(number: int) -> Any:  # noqa: ANN401
            return task.remote(__version__, work, *kept, *jobs[number])

        running = {begin(number): (number, 1) for number in range(len(jobs))}
        try:
            while running:
                (ended, *_), _ = ray.wait(list(running), num_returns=1)
                number, tries = running.pop(ended)
                try:
                    yield number, ray.get(ended)
                except RayTaskError as error:
                    raise _own(error) from error
                except RayError as error:
                    self._check_alive(error)
                    if tries >= placement.tries:
                        raise WorkerLost(
                            f"job {number} was tried {tries} times, and its worker died each time "
                            f"({type(error).__name__}): perhaps for want of memory; what others "
                            "have done is kept"
                        ) from error
                    running[begin(number)] = (number, tries + 1)
        finally:
            for left in running:
                ray.cancel(left, force=True)

    def _check_placement(self, placement: Placement) -> None:
        self._check_alive(None)
        needed = {"CPU": placement.cpus} | dict(placement.resources)
        there = _largest_nodes()
        for name, amount in needed.items():
            if amount > there.get(name, 0.0):
                known = ", ".join(sorted(key for key in there if not key.startswith("node:")))
                raise PlacementError(
                    f"no node of the cluster has {name} = {amount:g} (there are: {known}); start "
                    f"one that has: ray start --address=<head> --resources='{{\"{name}\": 1}}'"
                )

    def _check_alive(self, error: Exception | None) -> None:
        if not ray.is_initialized():
            raise ClusterUnreachable(
                f"the Ray cluster at {self.address} has ended; start it and run the same again: "
                "what was stored is not done twice"
            ) from error

    def close(self) -> None:
        """Leaves the cluster, where this object has joined it."""
        if self._ours and ray.is_initialized():
            ray.shutdown()


def _largest_nodes() -> dict[str, float]:
    """For each resource how much of it the node with most of it has."""
    most: dict[str, float] = {}
    for node in ray.nodes():  # type: ignore[no-untyped-call]
        if node["Alive"]:
            for name, amount in node["Resources"].items():
                most[name] = max(most.get(name, 0.0), float(amount))
    return most


def _connect(address: str) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host:
        _knock(address, host, port)
    options: dict[str, Any] = {"include_dashboard": False} if address == LOCAL else {}
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **options)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        raise ClusterUnreachable(_advice(address, str(error))) from error


def _knock(address: str, host: str, port: str) -> None:
    """Ray itself tries for minutes, and may end the process."""
    try:
        socket.create_connection((host, int(port)), REACH).close()
    except (OSError, ValueError, OverflowError) as error:
        raise ClusterUnreachable(_advice(address, str(error))) from error


def _advice(address: str, words: str) -> str:
    return (
        f"no Ray cluster answers at {address} ({words}): start its head by `ray start --head "
        "--port=6379`, and name it host:6379; docs/distributed.md shows the whole"
    )


def _do(version: str, work: Callable[..., Any], *arguments: Any) -> Any:  # noqa: ANN401
    """One job on a worker; one of another version of this project refuses."""
    if version != __version__:
        raise EmNASError(
            f"a worker of the cluster has emnas-gym {__version__}, the driver {version}: "
            "use one checkout on all machines"
        )
    os.environ["OMP_NUM_THREADS"] = "1"  # heard by what is imported from now on
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    return work(*arguments)


def _own(error: RayTaskError) -> BaseException:
    """What the work raised itself; a worker that lacks the project is told by name."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, ModuleNotFoundError):
        return EmNASError(
            f"a worker of the cluster cannot import {cause.name}: run `ray start` in a checkout, "
            "with PYTHONPATH=$PWD and the project installed"
        )
    return cause if isinstance(cause, EmNASError) else error
