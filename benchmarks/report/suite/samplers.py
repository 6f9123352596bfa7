"""Whether random search takes part with both of its samplers, where these differ.

Random search is the stronger of two samplers: `uniform-length` draws a length, then tokens; `walk`
draws tokens, the end among them. Which one is stronger depends on the problem, so that a suite
with one of them may hold its agents against the weaker one.
"""

from __future__ import annotations

from typing import Any

from agents.random_search import RandomConfig
from benchmarks.suites.result import Result
from benchmarks.suites.suite import BASELINE

BOTH = ("uniform-length", "walk")


def sampler_notes(result: Result) -> list[str]:
    """A line for each environment whose random search lacks one of the two samplers.

    Args:
        result: Of a suite, finished or not.
    """
    notes = []
    for environment in result["environments"]:
        used = _used(result, environment["label"])
        lacking = [sampler for sampler in BOTH if sampler not in used]
        if len(lacking) == 1 and _differ(environment["problem"]):
            notes.append(
                f"{environment['label']}: random search runs without the sampler {lacking[0]}, "
                "which may be the stronger one."
            )
    return notes


def _used(result: Result, env: str) -> set[str]:
    """Samplers of the random searches that have runs there, or will have."""
    playing = {run["agent"] for run in (*result["runs"], *result["missing"]) if run["env"] == env}
    default = RandomConfig().sampler
    return {
        str(agent["options"].get("sampler", default))
        for agent in result["agents"]
        if agent["agent"] == BASELINE and agent["label"] in playing
    }


def _differ(problem: dict[str, Any]) -> bool:
    """Whether lengths vary: with one length both samplers draw the same."""
    lengths = problem.get("lengths")
    if not isinstance(lengths, list) or len(lengths) != 2:
        return False
    return bool(lengths[0] != lengths[1])
