"""The evaluator that really trains, its trainings spread over the nodes of a Ray cluster."""

from __future__ import annotations

from collections.abc import Sequence

from emnas_gym.architecture import Architecture
from emnas_gym.errors import EvaluationStopped
from emnas_gym.evaluator import Result
from predictors.datasets import Dataset
from predictors.ray_cluster import Cluster, ClusterUnreachable, Placement, WorkerLost
from predictors.trained import Trained, TrainedEvaluator, average, group, train_one
from predictors.training import Recipe


class RayTrainedEvaluator(TrainedEvaluator):
    """Trains every network from scratch on a cluster; equal bits to `TrainedEvaluator`.

    Each training takes one core of whatever node has one. One whose worker dies is begun again.
    Where the cluster itself is lost, `EvaluationStopped` holds what was trained until then.

    Args:
        data: Images in three parts; sent once to each node.
        recipe: How to train.
        seeds: Trainings of each network, averaged.
        address: Of the cluster (`predictors.ray_cluster.Cluster`); joined at the first training.
        placement: What a training needs.
    """

    def __init__(
        self,
        data: Dataset,
        recipe: Recipe | None = None,
        seeds: int = 1,
        address: str | None = None,
        placement: Placement | None = None,
    ) -> None:
        super().__init__(data, recipe, seeds)
        self.address, self.placement = address, placement or Placement()
        self._cluster: Cluster | None = None

    def _evaluate(self, batch: Sequence[Architecture]) -> list[Result]:
        jobs = [(architecture, seed) for architecture in batch for seed in range(self.seeds)]
        trained: list[Trained | None] = [None] * len(jobs)
        try:
            self._train_into(trained, jobs)
        except (WorkerLost, ClusterUnreachable) as error:
            raise EvaluationStopped(str(error), self._averages(trained)) from error
        return [result for result in self._averages(trained) if result is not None]

    def _averages(self, trained: Sequence[Trained | None]) -> list[Result | None]:
        """For each network its result; None where not all of its trainings are there."""
        results: list[Result | None] = []
        for first in range(0, len(trained), self.seeds):
            mine = [one for one in trained[first : first + self.seeds] if one is not None]
            results.append(average(group(mine)) if len(mine) == self.seeds else None)
        return results

    def _train_all(self, jobs: Sequence[tuple[Architecture, int]]) -> list[Trained]:
        trained: list[Trained | None] = [None] * len(jobs)
        self._train_into(trained, jobs)
        return [one for one in trained if one is not None]

    def _train_into(
        self, trained: list[Trained | None], jobs: Sequence[tuple[Architecture, int]]
    ) -> None:
        """Fills in what ends, as it ends."""
        if self._cluster is None:
            self._cluster = Cluster(self.address)
        shared = (self.data, self.recipe)
        for number, result in self._cluster.each(train_one, jobs, self.placement, shared):
            trained[number] = result

    def close(self) -> None:
        """Leaves the cluster."""
        if self._cluster is not None:
            self._cluster.close()
            self._cluster = None
        super().close()
