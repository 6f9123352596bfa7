"""A genotype as a figure: the nodes of a cell in a row, an arc with its operation for each edge."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.report.charts import NARROW, WIDE, Figure, Layout, Mark, Summary
from benchmarks.report.search.operation_colours import KIND_NAMES, kind_of

SPAN, ROOM, TITLE = (
    30.0,
    46.0,
    26.0,
)  # height an arc gains by one more node; around a row; of a name
NODE = 11.0  # radius


def genotype_figure(summary: Summary) -> Figure | None:
    """The cells of the winner; None where networks have none.

    Args:
        summary: What a search found; its ``genotype`` has for every group of decisions ``inputs``,
            the number of nodes that are given, and ``edges``: (source, target, operation) of all
            that run.
    """
    cells = summary.get("genotype") or {}
    if not cells:
        return None
    rows = [
        (group, source, target, operation)
        for group, cell in cells.items()
        for source, target, operation in cell["edges"]
    ]
    kinds = dict.fromkeys(kind_of(operation) for *_, operation in rows)
    return Figure(
        "genotype",
        "What the winner's cells compute",
        "Nodes are sums (of a DARTS cell's nodes all are the output); an arc is an operation that "
        "reads the node at its left end. Edges that lead nowhere are left out.",
        tuple((kind, KIND_NAMES[kind], "") for kind in kinds),
        (_layout(cells, WIDE), _layout(cells, NARROW)),
        ("cell", "from", "to", "operation"),
        tuple(rows),
    )


def _layout(cells: Summary, width: int) -> Layout:
    marks: list[Mark] = []
    y = 0.0
    for group, cell in cells.items():
        edges = [(int(s), int(t), str(name)) for s, t, name in cell["edges"]]
        nodes = max([t for _, t, _ in edges], default=0) + 1
        widest = max([t - s for s, t, _ in edges], default=1)
        base = y + TITLE + SPAN * widest + 14
        marks.append(Mark("tick strong", x=0.0, y=y + 14, text=group))
        marks += _cell(edges, nodes, int(cell["inputs"]), width, base)
        y = base + ROOM
    return Layout(width, y, tuple(marks))


def _cell(
    edges: Sequence[tuple[int, int, str]], nodes: int, inputs: int, width: int, base: float
) -> list[Mark]:
    step = (width - 60) / max(nodes - 1, 1)
    x = [30 + step * node for node in range(nodes)]
    marks, names = [], []
    for source, target, name in sorted(edges, key=lambda edge: edge[0] - edge[1]):
        top, middle = base - NODE - SPAN * (target - source), (x[source] + x[target]) / 2
        kind, reach = kind_of(name), min(0.35 * (x[target] - x[source]), 60.0)
        arc = (
            f"M{x[source]:.1f} {base - NODE:.1f}C{x[source] + reach / 3:.1f} {top:.1f} "
            f"{x[source] + reach:.1f} {top:.1f} {middle:.1f} {top:.1f}"
            f"S{x[target] - reach / 3:.1f} {top:.1f} {x[target]:.1f} {base - NODE:.1f}"
        )
        marks.append(Mark(f"arc {kind}", arc, text=f"{source} → {target}: {name}"))
        names.append(Mark(f"tick middle over-arc {kind}", x=middle, y=top + 4, text=name))
    marks += names
    for node in range(nodes):
        ring = f"M{x[node] - NODE:.1f} {base:.1f}a{NODE} {NODE} 0 1 0 {2 * NODE} 0"
        ring += f"a{NODE} {NODE} 0 1 0 {-2 * NODE} 0"
        marks.append(Mark("node given" if node < inputs else "node", ring))
        marks.append(Mark("tick middle strong", x=x[node], y=base + 4.5, text=str(node)))
    return marks
