"""The report of a search: one HTML file that needs nothing else, and short tables for a README."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from benchmarks import figures
from emnas_gym.drawing import COUNTED, quantity, shape_text

TEMPLATES = Path(__file__).parent / "templates"
ORIGINS = {  # provenance in words
    "predicted": "predicted by a fitted model",
    "analytic": "computed from shapes and counts",
    "table": "looked up in a table",
    "trained": "really trained",
    "host": "timed on this machine",
    "emulated-insn": "instructions counted in an emulator, divided by the clock",
    "emulated-time": "time of an emulator",
    "board": "measured on the board",
    "manual": "entered by hand",
}
NAMES = {
    "accuracy": "accuracy",
    "latency_ms": "latency",
    "energy_mj": "energy",
    "ram_bytes": "RAM",
    "arena_head_bytes": "RAM for activations",
    "flash_bytes": "flash",
    "macs": "multiply-accumulates",
    "params": "parameters",
    "instructions": "instructions",
    "npu_cycles": "NPU cycles",
}
Summary = Mapping[str, Any]
Row = tuple[str, str, str]


def write_report(summary: Summary, folder: Path) -> Path:
    """Writes ``report.html``, which contains its figures and their data.

    Args:
        summary: What a search found, as ``summary.json`` holds it.
        folder: Where the file goes.

    Returns:
        The path of the file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "report.html"
    path.write_text(render_html(summary), encoding="utf-8")
    return path


def render_html(summary: Summary) -> str:
    """The report as HTML; everything that comes from the summary is escaped."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["data_uri"] = _data_uri
    drawn = {
        "network": figures.network_figure(summary),
        "costs": figures.gauges_figure(summary),
        "reward": figures.reward_figure(summary),
        "pareto": figures.pareto_figure(summary),
        "verified": figures.verified_figure(summary),
    }
    template = environment.get_template("report.html.j2")
    return template.render(view=_view(summary), figures=drawn)


def _data_uri(text: str) -> str:
    coded = base64.b64encode(text.encode()).decode()
    return f"data:text/csv;charset=utf-8;base64,{coded}"


def _view(summary: Summary) -> dict[str, Any]:
    """All texts of the page."""
    return {
        "headline": _glued(headline(summary)),
        "lead": _lead(summary),
        "problem": _problem(summary),
        "created": str(summary["created"]).replace("T", " ").replace("+00:00", " UTC"),
        "tiles": _tiles(summary),
        "warnings": warnings(summary),
        "winners": [_winner(summary, winner) for winner in summary["winners"]],
        "export": _export(summary),
        "provenance": _provenance(summary),
        "setting": _setting(summary),
        "command": summary["command"] or "not recorded",
        "notes": summary.get("notes") or [],
        "versions": ", ".join(f"{k} {v}" for k, v in (summary.get("versions") or {}).items()),
    }


# ------------------------------------------------------------------------------------- the result


def winner(summary: Summary) -> Summary:
    """The entry of the winner: the exported network, else the first."""
    rank = (summary.get("export") or {}).get("rank")
    found = [w for w in summary["winners"] if w["rank"] == rank]
    alike = [w for w in summary["winners"] if w["tokens"] == summary["best"]["tokens"]]
    return next(iter([*found, *alike]), {})


def headline(summary: Summary) -> str:
    """What was found, in one sentence."""
    known, verified = summary["best"]["measurement"], winner(summary).get("verified")
    accuracy = verified["mean"] if verified else known.get("accuracy")
    how = "gets" if verified else "is predicted to get"
    layers = len(summary["best"]["layers"])
    right = f" {how} {quantity('accuracy', accuracy)} right" if accuracy is not None else ""
    latency = f" in {_latency(known)}" if known.get("latency_ms") is not None else ""
    task = _tail(str(summary["problem"]["task"]))
    return f"A {layers}-layer network for {task}{right}{latency} on {_where(summary)}"


def _glued(text: str) -> str:
    """The text with numbers and their units kept on one line."""
    return re.sub(r"(?<=[\d≈±]) (?=[\d%a-zA-Z]+)", "\u00a0", text)


def _device(summary: Summary) -> str:
    device = summary["device"]
    return str(device.get("title") or device["name"])


def _where(summary: Summary) -> str:
    """The device inside a sentence."""
    title = _device(summary)
    return f"this{title[4:]}" if title.startswith("This") else f"the {title}"


def _tail(name: str) -> str:
    """A name, or the last part of a path."""
    return name.replace("\\", "/").rstrip("/").rpartition("/")[2] or name


def _problem(summary: Summary) -> str:
    problem = summary["problem"]
    shape = shape_text(problem["input_shape"])
    return f"{problem['space']}, {_tail(str(problem['task']))} {shape}, {_device(summary)}"


def _lead(summary: Summary) -> str:
    count, distinct = summary["evaluations"], summary["distinct"]
    sentences = [
        f"Found by {summary['agent']['name']} in {count:,} evaluations ({distinct:,} distinct "
        f"networks) and {_duration(summary['seconds'])}, seed {summary['seed']}.",
        *comparisons(summary),
    ]
    return " ".join(sentences)


def comparisons(summary: Summary) -> list[str]:
    """The result beside random search, as predicted and as verified."""
    ours, theirs = bests(summary)
    sentences = []
    if ours is not None and theirs is not None:
        sentences.append(
            f"Its best predicted reward {ours:.4f} is {_versus(ours, theirs)} random search at as "
            "many evaluations, the stronger of its samplers."
        )
    verified, rival = winner(summary).get("verified"), summary.get("random_verified")
    if verified and rival and None not in (verified.get("reward"), rival.get("reward")):
        sentences.append(
            f"Really trained, the winner's reward {verified['reward']:.4f} is "
            f"{_versus(verified['reward'], rival['reward'])} random search's best, trained alike."
        )
    return sentences


def bests(summary: Summary) -> tuple[float | None, float | None]:
    """Best reward of the agent, and of the stronger sampler of random search."""
    found = [(run.role == "agent", run.best[-1][1]) for run in figures.runs(summary) if run.best]
    ours = max((reward for is_agent, reward in found if is_agent), default=None)
    return ours, max((reward for is_agent, reward in found if not is_agent), default=None)


def _versus(ours: float, theirs: float) -> str:
    difference = round(ours - theirs, 4)
    if not difference:
        return "equal to that of"
    return f"{abs(difference):.4f} {'above' if difference > 0 else 'below'} that of"


def _duration(seconds: float) -> str:
    minutes = seconds / 60
    return f"{seconds:.0f} s" if minutes < 2 else f"{minutes:,.1f} min"


def warnings(summary: Summary) -> list[str]:
    """What a reader must know before believing the numbers."""
    ours, theirs = bests(summary)
    over = [g for g in figures.winner_gauges(summary) if g.over]
    found = [f"The winner exceeds its budget of {g.title}: {g.text} {g.limit_text}." for g in over]
    if not figures.trials(summary):
        found.append("No winner was trained: every accuracy here is a prediction.")
    if ours is not None and theirs is not None and theirs >= ours:
        found.append("Random search found a network that is as good or better: prefer it.")
    verified = winner(summary).get("verified") or {}
    predicted = summary["best"]["measurement"].get("accuracy")
    if verified and predicted is not None and abs(predicted - verified["mean"]) > 0.03:
        gap = 100 * abs(predicted - verified["mean"])
        found.append(f"The winner's predicted accuracy is {gap:.1f} points off its verified one.")
    export = summary.get("export") or {}
    lost = 100 * ((export.get("float_accuracy") or 0) - (export.get("int8_accuracy") or 0))
    if lost > 1:
        found.append(f"Quantisation to int8 cost {lost:.1f} points of accuracy.")
    if summary["failed"]:
        found.append(f"{summary['failed']:,} of {summary['evaluations']:,} evaluations failed.")
    return found


# --------------------------------------------------------------------------------------- tables


def _tiles(summary: Summary) -> list[dict[str, Any]]:
    """The four numbers at the top."""
    known, entry = summary["best"]["measurement"], winner(summary)
    verified = entry.get("verified")
    title = "Accuracy, verified" if verified else "Accuracy, predicted"
    value = _percent(verified["mean"] if verified else known.get("accuracy"))
    tiles = [
        {"title": title, "value": value, "detail": _accuracy_detail(summary), "over": False},
        {
            "title": "Latency",
            "value": _latency(known),
            "detail": _latency_detail(summary),
            "over": any(g.over for g in figures.winner_gauges(summary) if g.name == "latency_ms"),
        },
    ]
    for gauge in figures.winner_gauges(summary):
        if gauge.name in ("flash_bytes", "ram_bytes"):
            title = {"flash_bytes": "Flash", "ram_bytes": "RAM"}[gauge.name]
            detail = "no limit is set" if gauge.limit is None else f"{gauge.limit_text} allowed"
            tiles.append(
                {"title": title, "value": gauge.text, "detail": detail, "over": gauge.over}
            )
    return tiles


def _accuracy_detail(summary: Summary) -> str:
    verified = winner(summary).get("verified")
    if not verified:
        return "not trained yet"
    known = summary["best"]["measurement"].get("accuracy")
    seeds = len(verified["accuracy"])
    parts = [f"± {100 * (verified.get('std') or 0):.1f} over {seeds} seeds"]
    if known is not None:
        parts.append(f"predicted {_percent(known)}")
    export = summary.get("export") or {}
    if export.get("int8_accuracy") is not None:
        parts.append(f"int8 {_percent(export['int8_accuracy'])}")
    return ", ".join(parts)


def _latency_detail(summary: Summary) -> str:
    origin = _origin(summary["best"]["measurement"], "latency_ms")
    error = summary["device"].get("latency_error")
    usual = f"; this device's estimates are off by {100 * error:.0f} % on average" if error else ""
    return ORIGINS.get(origin, origin) + usual


def _origin(known: Summary, name: str) -> str:
    return str((known.get("provenance") or {}).get(name, "unknown"))


def _percent(value: float | None) -> str:
    return "–" if value is None else quantity("accuracy", value)


def _latency(known: Summary) -> str:
    value = known.get("latency_ms")
    if value is None:
        return "–"
    about = "≈ " if _origin(known, "latency_ms") in COUNTED else ""
    return about + quantity("latency_ms", value)


def _winner(summary: Summary, entry: Summary) -> dict[str, Any]:
    """One row of the winners' table."""
    known, verified, int8 = entry["measurement"], entry.get("verified"), entry.get("int8") or {}
    exported = summary.get("export") or {}
    flash = int8.get("flash_bytes") or known.get("flash_bytes")
    origin = "file" if int8.get("flash_bytes") else _origin(known, "flash_bytes")
    return {
        "rank": entry["rank"],
        "chosen": bool(exported) and exported.get("rank") == entry["rank"],
        "tokens": " ".join(map(str, entry["tokens"])),
        "layers": entry["layers"],
        "predicted": _percent(known.get("accuracy")),
        "verified": _spread(verified),
        "seeds": f"{len(verified['accuracy'])} seeds" if verified else "",
        "int8": _percent(int8.get("accuracy")),
        "latency": _latency(known),
        "latency_origin": _origin(known, "latency_ms") if known.get("latency_ms") else "",
        "flash": "–" if flash is None else quantity("flash_bytes", flash),
        "flash_origin": origin,
        "reward": f"{entry['reward']:.4f}",
        "verified_reward": f"verified {verified['reward']:.4f}" if verified else "",
    }


def _spread(verified: Summary | None) -> str:
    if not verified:
        return "–"
    mean, deviation = 100 * verified["mean"], 100 * (verified.get("std") or 0)
    return f"{mean:.1f} ± {deviation:.1f} %"


def _export(summary: Summary) -> list[Row]:
    export = summary.get("export")
    if not export:
        return []
    agreement = export.get("agreement")
    alike = "" if agreement is None else f"same answer as float32 on {_percent(agreement)}"
    int8, float32 = (_percent(export.get(f"{kind}_accuracy")) for kind in ("int8", "float"))
    rows = [
        ("File", str(export["file"]), f"winner #{export['rank']}" if export.get("rank") else ""),
        ("Size", f"{export['bytes']:,} bytes", ""),
        ("Accuracy, int8", f"{int8} (float32 {float32})", alike),
        ("RAM", _bytes(export.get("ram_bytes")), _head(export)),
        ("C array", str(export.get("c_array") or "–"), "for firmware without a file system"),
        ("Run in", str(export.get("interpreter") or "–"), ""),
        ("SHA-256", str(export["sha256"]), ""),
    ]
    return [row for row in rows if row[1] != "–"]


def _head(export: Summary) -> str:
    head = export.get("arena_head_bytes")
    return "" if head is None else f"of it {_bytes(head)} for activations"


def _bytes(value: float | None) -> str:
    return "–" if value is None else quantity("ram_bytes", value)


def _provenance(summary: Summary) -> list[Row]:
    """Every known number of the winner with where it comes from."""
    known = summary["best"]["measurement"]
    rows = []
    for name, title in NAMES.items():
        if known.get(name) is not None:
            origin = _origin(known, name)
            value = _latency(known) if name == "latency_ms" else quantity(name, known[name])
            rows.append((title, value, ORIGINS.get(origin, origin)))
    verified = winner(summary).get("verified")
    if verified:
        rows.insert(1, ("accuracy, verified", _spread(verified), ORIGINS["trained"]))
    export = summary.get("export") or {}
    if export.get("bytes"):
        rows.append(
            ("flash, exported", quantity("flash_bytes", export["bytes"]), "size of the file")
        )
    return rows


def _setting(summary: Summary) -> list[tuple[str, str]]:
    problem, agent, device = summary["problem"], summary["agent"], summary["device"]
    rows = [
        ("Space", f"{problem['space']} ({problem['space_fingerprint']})"),
        ("Task", f"{problem['task']}, {problem['classes']} classes"),
        ("Device", f"{_device(summary)}, {device.get('core')}, {device.get('clock_mhz')} MHz"),
        ("Device figures", str(device.get("source") or "–")),
        ("Budgets", _pairs({k: quantity(k, v) for k, v in problem["budgets"].items()}) or "none"),
        ("Reward", _named(problem["reward"])),
        ("Evaluator", str(summary.get("evaluator") or "–")),
        ("Agent", _named({"name": agent["name"], **(agent.get("config") or {})})),
        ("Seed", str(summary["seed"])),
    ]
    return [row for row in rows if row[1] != "–"]


def _pairs(values: Summary) -> str:
    return ", ".join(f"{key} {_short(value)}" for key, value in values.items())


def _named(values: Summary) -> str:
    """A name and its constants."""
    rest = _pairs({key: value for key, value in values.items() if key != "name"})
    return f"{values['name']}: {rest}" if rest else str(values["name"])


def _short(value: Any) -> str:  # noqa: ANN401
    if isinstance(value, Mapping):
        return f"({_pairs(value)})"
    return f"{value:.5g}" if isinstance(value, float) else str(value)


# ------------------------------------------------------------------------------------- markdown


def render_markdown(summary: Summary) -> str:
    """Short tables for a README: the search beside random search, and the winners."""
    lines = [
        f"{_plain(headline(summary))}.",
        "",
        "| searcher | best reward, predicted | verified |",
    ]
    lines.append("|---|---:|---:|")
    verified, rival = winner(summary).get("verified"), summary.get("random_verified")
    trained = {"agent": _reward(verified), "random": _reward(rival), "walk": "–"}
    for run in figures.runs(summary):
        if run.best:
            lines.append(f"| {_plain(run.name)} | {run.best[-1][1]:.4f} | {trained[run.role]} |")
    lines += ["", "| rank | layers | predicted | verified | int8 | latency | flash |"]
    lines.append("|---:|---:|---:|---:|---:|---:|---:|")
    for entry in summary["winners"]:
        row = _winner(summary, entry)
        cells = [row[key] for key in ("predicted", "verified", "int8", "latency", "flash")]
        lines.append(f"| {row['rank']} | {len(row['layers'])} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", f"`{_plain(str(summary['command']))}`", ""])


def _reward(verified: Summary | None) -> str:
    return f"{verified['reward']:.4f}" if verified else "–"


def _plain(text: str) -> str:
    """Text that stays inside its cell and is no markup."""
    safe = "".join(c if c.isprintable() else " " for c in text)
    return safe.replace("|", "\\|").replace("<", "&lt;").replace("`", "'")
