"""What an agent told of its own steps, and what its winner's cells are: for reports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from emnas_gym.branched.cell_space import CellSpace
from emnas_gym.history import Row
from emnas_gym.ledger import Ledger
from emnas_gym.measurement import Measurement
from emnas_gym.token_space import TokenSpace
from predictors.supernet.wirings import wiring


def told_by(ledger: Ledger) -> dict[str, Any]:
    """Traces of a search, and when during it which latency was measured.

    A search that began anew, with a ``restart`` of its own in its traces, is told of from the one
    to which the best evaluation belongs: several one after the other would look like one.

    Args:
        ledger: After the search.

    Returns:
        ``traces``: what the agent told, in order. ``measured_latencies``: (index of the trace
        before it, milliseconds) of every evaluation that has a latency. ``restarts``: number of
        the one that is told of, from 1, and how many there were; nothing at all without traces.
    """
    traces = [numbers for _, numbers in ledger.history.traces()]
    if not traces or not ledger.rows:
        return {}
    at = [_before(traces, i) for i in range(len(ledger.rows))]
    chosen = _restart(traces[max(at[ledger.rows.index(ledger.best)], 0)])
    first = next(i for i, trace in enumerate(traces) if _restart(trace) == chosen)
    measured = [
        (before - first, row.result.latency_ms)
        for before, row in zip(at, ledger.rows, strict=True)
        if before >= 0 and _restart(traces[before]) == chosen
        if isinstance(row.result, Measurement) and row.result.latency_ms is not None
    ]
    return {
        "traces": [trace for trace in traces if _restart(trace) == chosen],
        "measured_latencies": measured,
        "restarts": (chosen + 1, len({_restart(trace) for trace in traces})),
    }


def _restart(trace: dict[str, Any]) -> int:
    return int(trace.get("restart", 0))


def _before(traces: Sequence[dict[str, Any]], evaluation: int) -> int:
    """The last trace that was told before an evaluation; -1 for none."""
    return sum(int(trace["after"] <= evaluation) for trace in traces) - 1


def genotype(space: TokenSpace, row: Row) -> dict[str, Any] | None:
    """The cells of a network: for every group how many nodes are given, and the edges that run.

    Args:
        space: Of the network.
        row: Its evaluation.

    Returns:
        Group → ``inputs`` and ``edges`` (source, target, operation); None where networks have no
        cells.
    """
    if not isinstance(space, CellSpace):
        return None
    told = {}
    for group, choices in space.choices(row.tokens).items():
        wires = wiring(space.groups[group])
        edges = [[*wires.edges[i], wires.operations[i][j]] for i, j in wires.running(choices)]
        told[group] = {"inputs": wires.inputs, "edges": edges}
    return told
