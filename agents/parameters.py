"""Learned parameters as files that are safe to load: tensors alone, and JSON beside them."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from emnas_gym.errors import StoreError

TENSORS, ABOUT = "parameters.pt", "parameters.json"


def save_parameters(folder: Path, parameters: Mapping[str, Any], about: Mapping[str, Any]) -> None:
    """Writes tensors (nested dictionaries of them) and what they are of.

    Args:
        folder: Made if there is none.
        parameters: State dictionaries.
        about: Plain data: agent, hyperparameters, problem.
    """
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(dict(parameters), folder / TENSORS)
    text = json.dumps(dict(about), indent=2, sort_keys=True)
    (folder / ABOUT).write_text(text + "\n", encoding="utf-8")


def load_parameters(folder: Path, about: Mapping[str, Any]) -> dict[str, Any]:
    """Reads tensors; a file that holds anything else is refused before it can run.

    Args:
        folder: What `save_parameters` wrote.
        about: What the parameters are needed for.

    Raises:
        StoreError: If the files are missing or damaged, or of something else.
    """
    try:
        saved = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        content = torch.load(folder / TENSORS, weights_only=True, map_location="cpu")
    except (OSError, ValueError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise StoreError(f"{folder}: no parameters, or damaged: {error}") from error
    asked = json.loads(json.dumps(dict(about)))
    for key, value in asked.items():
        if saved.get(key) != value:
            raise StoreError(f"{folder}: has {key} = {saved.get(key)}, asked for {value}")
    return dict(content)
