"""Rendering: every step of growing, text and pixels, windows that are not there."""

from __future__ import annotations

import importlib
import itertools
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.error import DependencyNotInstalled

from emnas_gym import costs
from emnas_gym.analytic import AnalyticEvaluator
from emnas_gym.graph import GraphBuilder
from emnas_gym.measurement import Measurement
from emnas_gym.problem import Problem
from emnas_gym.rendering import HumanView, make_scene, render_ansi, render_rgb
from emnas_gym.rendering.boxes import Box, boxes, describe
from emnas_gym.rendering.canvas import mix
from emnas_gym.rendering.gauges import Gauge, gauges, quantity, round_up
from emnas_gym.rendering.scene import Scene, partial_graph, spent
from emnas_gym.rendering.window import _open_window
from emnas_gym.tasks import Task

TOKENS = (319, 112, 343, 1, 30, 381, 373, 382)  # ends in dropout, dense, output
LONG = (22, 8, 34, 23, 32, 43, 12, 24, 31, 11, 10, 13, 35, 19, 45, 14)
LONG += (29, 21, 15, 18, 47, 4, 9, 44, 18, 48, 24, 26, 14, 5, 17, 49)


@pytest.fixture(scope="module")
def problem() -> Problem:
    return Problem.make(budgets={"ram_bytes": 8192, "flash_bytes": 32768})


@pytest.fixture(scope="module")
def mobile() -> Problem:
    return Problem.make("emnas-mobile-49", task="grasp", device="host", budgets={"latency_ms": 60})


def measured(problem: Problem, tokens: tuple[int, ...], **known: Any) -> Measurement:
    architecture = problem.space.architecture(tokens)
    result = AnalyticEvaluator.for_problem(problem).evaluate([architecture])[0]
    assert isinstance(result, Measurement)
    return result.overridden(Measurement.of("predicted", **known))


def test_a_partial_graph_grows_into_the_whole_one(problem: Problem) -> None:
    for placed in range(len(TOKENS) + 1):
        graph = partial_graph(problem, TOKENS[:placed])
        assert graph is not None
        known = spent(problem, TOKENS[:placed])
        assert known["flash_bytes"] == costs.flash_bytes(graph)
        assert known["ram_bytes"] == costs.ram_bytes(graph)
        assert known["macs"] == costs.macs(graph)
    assert graph == problem.space.architecture(TOKENS).graph(problem.task)
    whole = measured(problem, TOKENS)
    assert {name: getattr(whole, name) for name in known} == pytest.approx(known)


def test_costs_so_far_never_fall(problem: Problem) -> None:
    steps = [spent(problem, TOKENS[:placed]) for placed in range(len(TOKENS) + 1)]
    for before, after in itertools.pairwise(steps):
        assert all(after[name] >= before[name] for name in before)


def test_layers_that_do_not_fit_are_no_graph(problem: Problem) -> None:
    assert partial_graph(problem, (0, 0)) == partial_graph(problem, ())
    assert partial_graph(problem, (30,) * 3) is not None
    assert partial_graph(problem, (30,) * 4) is None  # a window of 3 on a map of 1
    wrong = (373, 1)  # a convolution of a vector
    assert partial_graph(problem, wrong) is None
    assert spent(problem, wrong) == {}
    scene = make_scene(problem, wrong)
    assert "does not fit here" in render_ansi(scene)
    assert render_rgb(scene).shape == (720, 1280, 3)


def test_text_shows_every_layer_and_cost(problem: Problem) -> None:
    text = render_ansi(make_scene(problem, TOKENS[:5]))
    assert "\x1b" not in text
    assert "growing: 5 of 4–15 layers" in text
    for token in TOKENS[:5]:
        assert str(problem.space.spec(token)) in text
    assert re.search(r"flash .*\|.* KiB of 32\.0 KiB", text)
    assert re.search(r"latency .*:.* ≈ [\d.]+ ms usual", text)
    assert all(line == line.rstrip() or line.startswith("  0") for line in text.splitlines())


def test_text_of_a_finished_network(problem: Problem) -> None:
    known = measured(problem, TOKENS, accuracy=0.934)
    text = render_ansi(make_scene(problem, TOKENS, known, 0.9, (0.5, 0.95, 0.9)))
    assert "reward 0.9000 · accuracy 93.4 % (predicted) · best of 3 episodes: 0.950" in text
    assert "finished, 8 of" in render_ansi(make_scene(problem, TOKENS))


def test_text_names_what_is_over(problem: Problem) -> None:
    known = measured(problem, TOKENS).overridden(Measurement.of("manual", flash_bytes=99_000))
    rows = render_ansi(make_scene(problem, TOKENS, known)).splitlines()
    assert [line.split()[0] for line in rows if line.endswith("OVER")] == ["flash"]


def test_pixels_change_with_every_step(problem: Problem) -> None:
    pytest.importorskip("matplotlib")
    frames = [render_rgb(make_scene(problem, TOKENS[:placed])) for placed in (0, 1, 2, 8)]
    known = measured(problem, TOKENS, accuracy=0.934)
    frames.append(render_rgb(make_scene(problem, TOKENS, known, 0.9, (0.2, 0.9))))
    for frame in frames:
        assert frame.shape == (720, 1280, 3) and frame.dtype == np.uint8
        assert frame.flags["OWNDATA"] and frame.flags["C_CONTIGUOUS"]
    for before, after in itertools.pairwise(frames):
        assert (before != after).any()
    again = render_rgb(make_scene(problem, TOKENS, known, 0.9, (0.2, 0.9)))
    assert (again == frames[-1]).all()


def test_thirty_two_layers_and_unusual_names_render_without_a_warning(mobile: Problem) -> None:
    pytest.importorskip("matplotlib")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        known = measured(mobile, LONG, accuracy=0.8, latency_ms=88.0)
        scene = make_scene(mobile, LONG, known, -0.1, (-0.1,) * 500)
        assert len(scene.boxes) == 1 + 31 - 1 + 3  # an empty pad draws nothing
        assert [g.name for g in scene.gauges if g.over] == ["latency_ms"]
        render_rgb(scene)
        task = Task("/data/$x^2$/数字\n" + "long" * 60, (16, 16, 1), 10)
        render_rgb(make_scene(Problem.make(task=task), TOKENS[:3]))


def test_pixels_are_painted_without_pyplot() -> None:
    pytest.importorskip("matplotlib")
    code = (
        "import sys; from emnas_gym.problem import Problem\n"
        "from emnas_gym.rendering import make_scene, render_ansi, render_rgb\n"
        "scene = make_scene(Problem.make(), (319,)); render_ansi(scene)\n"
        "assert 'matplotlib' not in sys.modules\n"
        "render_rgb(scene)\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])


def test_missing_matplotlib_says_how_to_get_it(
    problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [n for n in sys.modules if n.partition(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    scene = make_scene(problem, TOKENS[:2])
    assert render_ansi(scene)
    with pytest.raises(DependencyNotInstalled, match=r"pip install 'emnas-gym\[render\]'"):
        render_rgb(scene)


def test_without_a_display_frames_are_written_and_said_once(
    problem: Problem,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    image = pytest.importorskip("matplotlib.image")
    monkeypatch.setattr("emnas_gym.rendering.window._open_window", lambda: None)
    view = HumanView(tmp_path / "frames")
    for placed in range(3):
        view.show(make_scene(problem, TOKENS[:placed]))
    view.close()
    view.close()
    names = sorted(path.name for path in (tmp_path / "frames").iterdir())
    assert names == [f"frame-{i:05d}.png" for i in (1, 2, 3)]
    assert image.imread(tmp_path / "frames" / names[0]).shape[:2] == (720, 1280)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1 and str(tmp_path / "frames") in said.err


def test_no_display_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert _open_window() is None


def test_a_backend_without_windows_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("agg")
    monkeypatch.setenv("DISPLAY", ":0")
    assert _open_window() is None
    assert pyplot.get_fignums() == []


class FakeWindow:
    """Records what a window is asked to do."""

    number = 7

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.canvas = self

    def __getattr__(self, name: str) -> Any:
        def record(*args: object, **kwargs: object) -> FakeWindow:
            self.calls.append(name)
            return self

        return record


def test_a_window_is_updated_and_closed(
    problem: Problem, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pyplot = pytest.importorskip("matplotlib.pyplot")
    window, closed = FakeWindow(), []
    monkeypatch.setattr("emnas_gym.rendering.window._open_window", lambda: window)
    monkeypatch.setattr(pyplot, "fignum_exists", lambda number: not closed)
    monkeypatch.setattr(pyplot, "close", closed.append)
    view = HumanView(tmp_path)
    view.show(make_scene(problem, ()))
    view.show(make_scene(problem, TOKENS[:1]))
    assert window.calls.count("imshow") == 1 and window.calls.count("set_data") == 2
    closed.append(window)  # by its cross
    view.show(make_scene(problem, TOKENS[:2]))
    assert window.calls.count("set_data") == 2
    view.close()
    assert list(tmp_path.iterdir()) == []


def test_boxes_absorb_activations_and_name_the_output(problem: Problem) -> None:
    graph = problem.space.architecture(TOKENS).graph(problem.task)
    drawn = boxes(graph)
    assert [b.label for b in drawn] == [
        "input", "depthwise", "conv", "depthwise", "conv", "conv", "dropout 0.2", "dense", "output",
    ]  # fmt: skip
    assert drawn[-1].activation == "softmax" and drawn[1].activation == "sigmoid"
    assert drawn[1].window == "3×3 /2" and drawn[2].window == "1×1" and drawn[-1].window == ""
    assert all(box.reads == (i,) for i, box in enumerate(drawn[1:]))
    assert [Box.from_json(data) for data in describe(graph)] == list(drawn)


def test_boxes_of_a_branching_graph(problem: Problem) -> None:
    builder = GraphBuilder((8, 8, 4))
    first = builder.window("conv2d", 3, 1, "same", filters=4, activation="relu")
    second = builder.pointwise("sigmoid")
    third = builder.window("conv2d", 3, 1, "same", filters=4, batch_norm=True, reads=second)
    builder.join("add", (first, third))
    drawn = boxes(builder.build())
    assert [b.label for b in drawn] == ["input", "conv", "conv", "join"]
    assert drawn[2].activation == "bn" and drawn[3].reads == (1, 2)
    pytest.importorskip("matplotlib")
    render_rgb(Scene(problem, (), builder.build()))


def test_a_box_follows_the_shape_of_its_map() -> None:
    large, small = Box("conv2d", (32, 16, 8)), Box("conv2d", (8, 8, 64))
    wide, tall, deep = large.extent(32)
    assert tall == 1.0 and deep < tall
    assert small.extent(32)[0] > wide and small.extent(32)[1] < tall
    assert Box("dense", (40,)).extent(32)[1] > Box("dense", (4,)).extent(32)[1]
    assert Box("conv2d", (1, 1, 99_999)).extent(64)[0] == 1.0
    assert Box.from_json({"op": "conv2d", "shape": [2, 2, 8], "kernel": 3}).kernel == (3, 3)


def test_gauges() -> None:
    over, within, free, unknown = (
        Gauge("flash_bytes", 3000.0, 2000.0),
        Gauge("ram_bytes", 1000.0, 2000.0),
        Gauge("macs", 42_000.0),
        Gauge("latency_ms", None, 10.0),
    )
    assert (over.over, within.over, free.over, unknown.over) == (True, False, False, False)
    assert over.full > 3000 and within.full == 2500 and free.full == 50_000
    assert free.limit_text == "no limit" and unknown.text == "not known"
    assert Gauge("latency_ms", 1.0, usual=2.0).limit_text == "usual 2.00 ms"
    shown = gauges({"macs": 5.0, "latency_ms": 2.0}, {"ram_bytes": 9.0}, provenance={})
    assert [g.name for g in shown] == ["ram_bytes", "macs", "latency_ms"]
    counted = gauges({"latency_ms": 2.0}, {}, provenance={"latency_ms": "emulated-insn"})
    assert counted[0].text == "≈ 2.00 ms" and shown[-1].text == "2.00 ms"


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("flash_bytes", 0, "0 B"),
        ("flash_bytes", 1023, "1,023 B"),
        ("flash_bytes", 32768, "32.0 KiB"),
        ("ram_bytes", 5 * 1024**2, "5.0 MiB"),
        ("macs", 9999, "9,999"),
        ("macs", 1_250_000, "1.2 M"),
        ("latency_ms", 0.1234, "0.123 ms"),
        ("latency_ms", 1234.5, "1,234 ms"),
        ("latency_ms", 0, "0 ms"),
        ("energy_mj", 12.34, "12.3 mJ"),
        ("accuracy", 0.98765, "98.8 %"),
    ],
)
def test_quantities(name: str, value: float, text: str) -> None:
    assert quantity(name, value) == text


def test_round_numbers_and_colours() -> None:
    assert [round_up(v) for v in (0, 0.3, 1, 17, 400, 9000)] == [1, 0.5, 1, 20, 500, 10_000]
    assert mix("#000000", "#ffffff", 0.5) == "#808080"


def test_importing_the_module_needs_no_matplotlib() -> None:
    folder = Path(str(importlib.import_module("emnas_gym.rendering").__file__)).parent
    sources = [path.read_text(encoding="utf-8") for path in folder.glob("*.py")]
    assert len(sources) > 5
    for source in sources:
        assert not re.search(r"^(import|from) matplotlib", source, re.MULTILINE)
