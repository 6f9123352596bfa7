"""What every shipped surrogate is worth on rows that its fit has not seen."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from emnas_gym.devices import devices
from emnas_gym.errors import DatasetError, StoreError
from emnas_gym.surrogate_file import Surrogate, read_surrogate, shipped_folder, surrogate_names
from predictors import fit_digits, fit_digits_mobile, fit_grasp, fit_mobile
from predictors.fitted import Figures
from predictors.metrics import rounded

LINES = Path(__file__).parent / "tables" / "mcu_lines.json"
# What rests on a model that is not shipped, or on a table that may have grown since.
OF_THE_FIT = ("teacher", "student_and_teacher", "n_train")
MOBILE = fit_digits_mobile.SPACE
ANEW: dict[str, Callable[[Any], Figures]] = {
    "emnas-382_digits_accuracy": fit_digits.accuracy_figures,
    "emnas-382_digits_host_latency_ms": lambda m: fit_digits.latency_figures(m, "host"),
    "emnas-382_digits_ethos-u55-128_latency_ms": lambda m: fit_digits.latency_figures(
        m, "ethos-u55-128"
    ),
    f"{MOBILE}_digits_accuracy": lambda m: fit_digits.accuracy_figures(m, name=MOBILE),
    f"{MOBILE}_digits_host_latency_ms": lambda m: fit_digits.latency_figures(
        m, "host", name=MOBILE
    ),
    f"{MOBILE}_digits_ethos-u55-128_latency_ms": lambda m: fit_digits.latency_figures(
        m, "ethos-u55-128", name=MOBILE
    ),
    "emnas-382_grasp_sipeed-maix-bit_latency_ms": lambda m: fit_grasp.latency_figures(
        m, "sipeed-maix-bit"
    ),
    "emnas-382_grasp_jevois_latency_ms": lambda m: fit_grasp.latency_figures(m, "jevois"),
    "emnas-382_grasp_accuracy": fit_grasp.accuracy_figures,
    "emnas-mobile-49_grasp_accuracy": fit_mobile.accuracy_figures,
    "emnas-mobile-49_grasp_sipeed-maix-bit_latency_ms": fit_mobile.latency_figures,
    "emnas-mobile-49_grasp_sipeed-maix-bit_feasible": fit_mobile.feasible_figures,
}


def evaluate() -> Figures:
    """Held-out figures of all shipped surrogates.

    They are computed anew where their rows are there (the committed table; other people's tables
    where EMNAS_DATA names their folder), and else are those that the fit wrote into the file.

    Raises:
        SurrogateFileError: If a file is damaged.
    """
    shipped = surrogate_names(shipped_folder())
    figures = {name: _figures(name) for name in ANEW if name in shipped}
    measured = {
        name.split("_")[2]: part
        for name, part in figures.items()
        if name.startswith("emnas-382_digits_") and name.endswith("_latency_ms")
    }
    grasp, own = f"{MOBILE}_grasp", f"{MOBILE}_digits"
    return {
        "accuracy": figures.get("emnas-382_digits_accuracy"),
        "latency": _lines() | measured,
        "k210_seed_split": figures.get("emnas-382_grasp_sipeed-maix-bit_latency_ms"),
        "jevois_seed_split": figures.get("emnas-382_grasp_jevois_latency_ms"),
        "grasp_accuracy": figures.get("emnas-382_grasp_accuracy"),
        "mobile": {
            "accuracy": figures.get(f"{grasp}_accuracy"),
            "latency": figures.get(f"{grasp}_sipeed-maix-bit_latency_ms"),
            "feasible": figures.get(f"{grasp}_sipeed-maix-bit_feasible"),
        },
        "mobile_digits": {
            "accuracy": figures.get(f"{own}_accuracy"),
            "host": figures.get(f"{own}_host_latency_ms"),
            "ethos-u55-128": figures.get(f"{own}_ethos-u55-128_latency_ms"),
        },
    }


def _figures(name: str) -> Figures:
    shipped: Surrogate = read_surrogate(shipped_folder() / f"{name}.json")
    written = shipped.about["held_out"]
    by_the_fit = {key: written[key] for key in OF_THE_FIT if key in written}
    try:
        found = {**ANEW[name](shipped.model), **by_the_fit, "computed": "now"}
    except (DatasetError, StoreError):
        found = {**written, "computed": f"by {shipped.about['command']}"}
    plain = rounded(found)
    assert isinstance(plain, dict)
    return plain


def _lines() -> Figures:
    """Leave-one-model-out error of every device whose latency is a line in MACs."""
    rests_on = json.loads(LINES.read_text(encoding="utf-8"))
    return {
        name: {
            "model": "a + b · MACs",
            "leave_one_model_out_relative": device.latency_error,
            "other_clock_relative": device.transfer_error,
            "networks": len(rests_on[name]["errors"]),
            "times": rests_on[name]["times"],
        }
        for name, device in devices().items()
        if device.latency_b_ms_per_mac is not None and name in rests_on
    }
