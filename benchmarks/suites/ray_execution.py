"""Runs of a suite on a Ray cluster: a job a task, begun again where its worker dies.

The folder of the results lies where every node sees it. A job that is begun again goes on from its
history, so that a killed worker loses at most the batch that it was measuring.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

from emnas_gym.errors import EmNASError
from predictors.ray_cluster import Cluster, Placement


class InFolder(Protocol):
    """A job that stores what it does in a folder."""

    @property
    def folder(self) -> str:
        """The folder, which every node sees under this path."""


Job = TypeVar("Job", bound=InFolder)
Record = TypeVar("Record")


class RayExecution:
    """Does jobs on the nodes of a cluster.

    Args:
        address: Of the cluster; see `predictors.ray_cluster.Cluster`.
        placement: What each job needs, such as a core, or the resource of a board.

    Raises:
        ClusterUnreachable: If none answers there.
    """

    def __init__(self, address: str | None = None, placement: Placement | None = None) -> None:
        self.cluster, self.placement = Cluster(address), placement or Placement()

    def run(
        self,
        jobs: Sequence[Job],
        work: Callable[[Job], Record],
        done: Callable[[Job, Record], None],
    ) -> None:
        """Does all jobs, in whatever order.

        Args:
            jobs: Plain data that can be sent to another machine.
            work: A function of a module that every node can import.
            done: Called here, in this thread, with each job and its result.

        Raises:
            PlacementError: If no node has what a job needs.
            WorkerLost: If the worker of a job died at every try; what others have done is kept.
            EmNASError: If a job cannot be done, or a node does not see the folder.
        """
        folders = {job.folder: Path(job.folder).resolve() for job in jobs}
        marks = {folder: _mark(path) for folder, path in folders.items()}
        try:
            asked = [(marks[j.folder], work, _at(j, folders[j.folder])) for j in jobs]
            for number, record in self.cluster.each(_on_node, asked, self.placement):
                done(jobs[number], record)
        finally:
            for mark in marks.values():
                Path(mark).unlink(missing_ok=True)

    def close(self) -> None:
        """Leaves the cluster."""
        self.cluster.close()


def _at(job: Job, folder: Path) -> Job:
    """The job with its folder's absolute path: a worker stands in a folder of its own."""
    if not is_dataclass(job) or isinstance(job, type):
        raise EmNASError(f"a job for a cluster is a dataclass with a folder, not {job!r}")
    return replace(job, folder=str(folder))


def _mark(folder: Path) -> str:
    """Leaves an empty file by which nodes know that they see the same folder."""
    mark = folder / f".seen-{uuid.uuid4().hex}"
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.touch()
    return str(mark)


def _on_node(mark: str, work: Callable[[Any], Any], job: InFolder) -> Any:  # noqa: ANN401
    if not Path(mark).is_file():
        raise EmNASError(
            f"a node of the cluster does not see {Path(mark).parent}: give --out a folder that all "
            "machines share, by its absolute path"
        )
    return work(job)
