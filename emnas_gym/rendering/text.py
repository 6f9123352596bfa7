"""A scene as plain text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from emnas_gym.graph import LayerGraph
from emnas_gym.problem import Problem
from emnas_gym.rendering.boxes import shape_text
from emnas_gym.rendering.gauges import quantity
from emnas_gym.rendering.scene import Scene, partial_graph, spent


def render_ansi(scene: Scene) -> str:
    """The scene as a plain text table, without escape codes."""
    parts = [_title(scene), "", *_layer_rows(scene), "", *_gauge_rows(scene), "", _verdict(scene)]
    return "\n".join(parts) + "\n"


def _title(scene: Scene) -> str:
    problem = scene.problem
    return f"{problem.space.name} · {describe_task(problem, 60)} · {problem.device.title}"


def describe_task(problem: Problem, length: int) -> str:
    """Name, input shape and classes of a task; a long name is shortened."""
    shape, classes = shape_text(problem.task.input_shape), problem.task.classes
    return f"{short(problem.task.name, length)}, {shape}, {classes} classes"


def progress(scene: Scene) -> str:
    """How many layers of how many."""
    low, high = scene.problem.min_layers, scene.problem.max_layers
    lengths = f"{low}" if low == high else f"{low}–{high}"
    return f"{len(scene.tokens)} of {lengths} {words(scene)}"


def words(scene: Scene) -> str:
    """What tokens are in a space: layers, or decisions where no token ends a network."""
    return "layers" if scene.problem.space.end_token else "decisions"


def _layer_rows(scene: Scene) -> list[str]:
    wide = max([30, *(len(scene.problem.space.describe(t)) for t in scene.tokens if t)])
    head = f"{words(scene).removesuffix('s'):<{wide}}"
    rows = [f"{'#':>3}  {'token':>5}  {head}  {'output':<12}  {'flash':>9}  {'MACs':>9}"]
    shape = shape_text(scene.problem.task.input_shape)
    rows.append(f"{0:>3}  {'':>5}  {'input':<{wide}}  {shape:<12}")
    before = spent(scene.problem, ())
    for position, token in enumerate(scene.tokens, 1):
        graph = partial_graph(scene.problem, scene.tokens[:position])
        after = spent(scene.problem, scene.tokens[:position])
        rows.append(_layer_row(scene, position, token, wide, graph, before, after))
        before = after
    return rows


def _layer_row(
    scene: Scene,
    position: int,
    token: int,
    wide: int,
    graph: LayerGraph | None,
    before: Mapping[str, float],
    after: Mapping[str, float],
) -> str:
    layer = scene.problem.space.describe(token) if token else "no layer"
    if graph is None:
        return f"{position:>3}  {token:>5}  {layer:<{wide}}  does not fit here"
    added = {name: quantity(name, after[name] - before[name]) for name in ("flash_bytes", "macs")}
    shape = shape_text(graph.output_shape)
    costs_added = f"{added['flash_bytes']:>9}  {added['macs']:>9}"
    return f"{position:>3}  {token:>5}  {layer:<{wide}}  {shape:<12}  {costs_added}"


def _gauge_rows(scene: Scene, width: int = 28) -> list[str]:
    rows = []
    for gauge in scene.gauges:
        cells = round(width * (gauge.value or 0.0) / gauge.full)
        bar = "".join("█" if i < cells else "·" for i in range(width))
        if gauge.mark is not None:
            mark = round(width * gauge.mark / gauge.full)
            bar = f"{bar[:mark]}{'|' if gauge.limit else ':'}{bar[mark:]}"
        over = "  OVER" if gauge.over else ""
        text = f"{gauge.text:>11} {gauge.limit_text}"
        rows.append(f"{gauge.title:<8} {bar:<{width + 1}} {text}{over}")
    return rows


def _verdict(scene: Scene) -> str:
    if scene.reward is None:
        return ("finished, " if scene.finished else "growing: ") + progress(scene)
    known = scene.measurement
    parts = [f"reward {scene.reward:.4f}"]
    if known is not None and known.accuracy is not None:
        origin = known.provenance["accuracy"]
        parts.append(f"accuracy {quantity('accuracy', known.accuracy)} ({origin})")
    if len(scene.history) > 1:
        parts.append(best_so_far(scene.history))
    return " · ".join(parts)


def best_so_far(history: Sequence[float]) -> str:
    """The best reward of all episodes so far."""
    episodes = "1 episode" if len(history) == 1 else f"{len(history):,} episodes"
    return f"best of {episodes}: {max(history):.3f}"


def short(text: str, length: int) -> str:
    """A text of at most about this length, its middle left out."""
    return text if len(text) <= length else f"{text[: length // 2]}…{text[-(length // 2) + 1 :]}"
