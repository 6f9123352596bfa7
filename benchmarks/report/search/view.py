"""Everything that the page of a report says, as plain texts and rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.report.charts import Summary
from benchmarks.report.search.findings import (
    device_title,
    glued,
    headline,
    latency_text,
    lead,
    origin_of,
    percent_text,
    problem_text,
    warnings,
    winner,
)
from benchmarks.report.search.winner_figures import winner_gauges
from emnas_gym.rendering.gauges import quantity

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
Row = tuple[str, str, str]


def report_view(summary: Summary) -> dict[str, Any]:
    """All texts of the page, as its template names them."""
    return {
        "headline": glued(headline(summary)),
        "lead": lead(summary),
        "problem": problem_text(summary),
        "created": str(summary["created"]).replace("T", " ").replace("+00:00", " UTC"),
        "tiles": _tiles(summary),
        "warnings": warnings(summary),
        "winners": [winner_row(summary, entry) for entry in summary["winners"]],
        "export": _export(summary),
        "provenance": _provenance(summary),
        "setting": _setting(summary),
        "command": summary["command"] or "not recorded",
        "notes": summary.get("notes") or [],
        "versions": ", ".join(f"{k} {v}" for k, v in (summary.get("versions") or {}).items()),
    }


def _tiles(summary: Summary) -> list[dict[str, Any]]:
    """The four numbers at the top."""
    known, entry = summary["best"]["measurement"], winner(summary)
    verified = entry.get("verified")
    title = "Accuracy, verified" if verified else "Accuracy, predicted"
    value = percent_text(verified["mean"] if verified else known.get("accuracy"))
    tiles = [
        {"title": title, "value": value, "detail": _accuracy_detail(summary), "over": False},
        {
            "title": "Latency",
            "value": latency_text(known),
            "detail": _latency_detail(summary),
            "over": any(g.over for g in winner_gauges(summary) if g.name == "latency_ms"),
        },
    ]
    for gauge in winner_gauges(summary):
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
        parts.append(f"predicted {percent_text(known)}")
    export = summary.get("export") or {}
    if export.get("int8_accuracy") is not None:
        parts.append(f"int8 {percent_text(export['int8_accuracy'])}")
    return ", ".join(parts)


def _latency_detail(summary: Summary) -> str:
    origin = origin_of(summary["best"]["measurement"], "latency_ms")
    error = summary["device"].get("latency_error")
    usual = f"; this device's estimates are off by {100 * error:.0f} % on average" if error else ""
    return ORIGINS.get(origin, origin) + usual


def winner_row(summary: Summary, entry: Summary) -> dict[str, Any]:
    """One row of the winners' table."""
    known, verified, int8 = entry["measurement"], entry.get("verified"), entry.get("int8") or {}
    exported = summary.get("export") or {}
    flash = int8.get("flash_bytes") or known.get("flash_bytes")
    origin = "file" if int8.get("flash_bytes") else origin_of(known, "flash_bytes")
    return {
        "rank": entry["rank"],
        "chosen": bool(exported) and exported.get("rank") == entry["rank"],
        "tokens": " ".join(map(str, entry["tokens"])),
        "layers": entry["layers"],
        "predicted": percent_text(known.get("accuracy")),
        "verified": _spread(verified),
        "seeds": f"{len(verified['accuracy'])} seeds" if verified else "",
        "int8": percent_text(int8.get("accuracy")),
        "latency": latency_text(known),
        "latency_origin": origin_of(known, "latency_ms") if known.get("latency_ms") else "",
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
    alike = "" if agreement is None else f"same answer as float32 on {percent_text(agreement)}"
    int8, float32 = (percent_text(export.get(f"{kind}_accuracy")) for kind in ("int8", "float"))
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
            origin = origin_of(known, name)
            value = latency_text(known) if name == "latency_ms" else quantity(name, known[name])
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
        ("Device", f"{device_title(summary)}, {device.get('core')}, {device.get('clock_mhz')} MHz"),
        ("Device figures", str(device.get("source") or "–")),
        (
            "Budgets",
            pairs_text({k: quantity(k, v) for k, v in problem["budgets"].items()}) or "none",
        ),
        ("Reward", _named(problem["reward"])),
        ("Evaluator", str(summary.get("evaluator") or "–")),
        ("Agent", _named({"name": agent["name"], **(agent.get("config") or {})})),
        ("Seed", str(summary["seed"])),
    ]
    return [row for row in rows if row[1] != "–"]


def pairs_text(values: Summary) -> str:
    """Names and values in one line; tables within stand in brackets."""
    return ", ".join(f"{key} {_short(value)}" for key, value in values.items())


def _named(values: Summary) -> str:
    """A name and its constants."""
    rest = pairs_text({key: value for key, value in values.items() if key != "name"})
    return f"{values['name']}: {rest}" if rest else str(values["name"])


def _short(value: Any) -> str:  # noqa: ANN401
    if isinstance(value, Mapping):
        return f"({pairs_text(value)})"
    return f"{value:.5g}" if isinstance(value, float) else str(value)
