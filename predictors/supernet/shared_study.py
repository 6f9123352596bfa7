"""What shared and inherited weights are worth: agreement with training alone, and time."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emnas_gym.branched.cell_space import CellSpace
from emnas_gym.errors import EmNASError
from predictors.datasets import Dataset
from predictors.fitted import Figures
from predictors.metrics import bootstrap_tau, noise_floor, ranks
from predictors.network import GraphNetwork
from predictors.proxies.measured import MeasuredLines, Values
from predictors.supernet.shared_evaluator import SCORES, SharedEvaluator, scores
from predictors.supernet.stand_alone import Tokens, stand_alone, uniform_networks
from predictors.training import Recipe, train

Array = NDArray[np.float64]
WARM_RATE = 3e-3  # of short trainings: at the rate of a whole one they forget what they inherited
Tell = Callable[[str, int, int], None]  # what is measured, how much of it is done, of how much


@dataclass(frozen=True)
class Study:
    """What is compared.

    Attributes:
        networks: Number of networks.
        seeds: Stand-alone trainings of each, averaged; with two or more the agreement of two
            trainings is known, above which no estimate can be expected.
        warm: Epochs of trainings that begin with the weights of the supernet; 0 for none.
        recipe: Of stand-alone trainings.
    """

    networks: int = 200
    seeds: int = 1
    warm: int = 0
    recipe: Recipe = field(default_factory=Recipe)


def study(plan: Study, evaluator: SharedEvaluator, folder: Path, tell: Tell) -> Figures:
    """Measures all that is not in the folder yet, and compares.

    Args:
        plan: What is compared.
        evaluator: The shared evaluator; it knows space and images.
        folder: Where finished measurements are kept.
        tell: Told how far it is.

    Raises:
        EmNASError: If under two networks could be measured.
        StoreError: If the folder holds measurements of something else.
    """
    space, data = evaluator.space, evaluator.data
    networks = uniform_networks(space, plan.networks)
    about = {"space": space.fingerprint, "images": data.digest, "recipe": _text(plan.recipe)}
    known = MeasuredLines(folder / f"{space.name}_{Path(data.task.name).stem}.jsonl", about)

    def each(what: str, measure: Callable[[Tokens], Values]) -> list[Values]:
        found = []
        for i, tokens in enumerate(networks):
            found.append(measure(tokens))
            tell(what, i + 1, len(networks))
        return found

    alone = [
        each(f"training alone, seed {s}", partial(_alone, space, data, plan.recipe, s, known))
        for s in range(plan.seeds)
    ]
    epochs = evaluator.recipe.epochs
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        tell("training the supernet", done, epochs)

    evaluator.supernet(advance)
    key = _digest(evaluator.rests_on)
    shared = each(
        "shared weights", lambda t: known.get(f"shared {key}", t, lambda: _one(evaluator, t))
    )
    warm, cold = [], []
    if plan.warm:
        short = replace(plan.recipe, epochs=plan.warm, learning_rate=WARM_RATE)
        warm = each(
            f"{plan.warm} epochs from shared weights",
            lambda t: known.get(
                f"warm {plan.warm} {short.learning_rate} {key}",
                t,
                lambda: _warm(evaluator, t, short),
            ),
        )
        cold = each(
            f"{plan.warm} epochs from scratch",
            lambda t: known.get(
                f"cold {plan.warm} {short.learning_rate}",
                t,
                lambda: _short(space, data, t, short, {}),
            ),
        )
    return _figures(plan, evaluator, alone, {"shared": shared, "warm": warm, "cold": cold})


def _alone(
    space: CellSpace, data: Dataset, recipe: Recipe, seed: int, known: MeasuredLines, tokens: Tokens
) -> Values:
    return stand_alone(space, data, recipe, tokens, seed, known)


def _one(evaluator: SharedEvaluator, tokens: Tokens) -> Values:
    start = time.process_time()
    found = evaluator.scored(tokens)
    return {**found, "seconds": time.process_time() - start}


def _warm(evaluator: SharedEvaluator, tokens: Tokens, recipe: Recipe) -> Values:
    weights = evaluator.supernet().weights_of(tokens)
    return _short(evaluator.space, evaluator.data, tokens, recipe, weights)


def _short(
    space: CellSpace,
    data: Dataset,
    tokens: Tokens,
    recipe: Recipe,
    weights: dict[str, NDArray[np.float32]],
) -> Values:
    """A short training, of one attempt so that the comparison is of equal lengths."""
    start, recipe = time.process_time(), replace(recipe, attempts=1)
    result = train(space.build(tokens, data.task), data, 0, recipe, weights=weights)
    network = GraphNetwork(space.build(tokens, data.task))
    network.load_weights(result.weights)
    found = scores(network, data.valid_x, data.valid_y)
    return {**found, "seconds": time.process_time() - start}


def _figures(
    plan: Study,
    evaluator: SharedEvaluator,
    alone: Sequence[Sequence[Values]],
    cheap: dict[str, list[Values]],
) -> Figures:
    every = [*alone, *(rows for rows in cheap.values() if rows)]
    whole = [i for i in range(plan.networks) if not any("error" in rows[i] for rows in every)]
    if len(whole) < 2:
        raise EmNASError("under two networks could be measured; see the errors in the folder")
    valid, test = (
        np.array([[rows[i][part] for rows in alone] for i in whole]) for part in ("valid", "test")
    )
    sizes = [len(evaluator.data.valid_x), len(evaluator.data.test_x)]
    both = (sizes[0] * valid + sizes[1] * test) / sum(sizes)
    seconds = float(np.mean([rows[i]["seconds"] for rows in alone for i in whole]))
    training = evaluator.training
    assert training is not None
    truths = {"tau": both.mean(axis=1), "tau_valid": valid.mean(axis=1)}
    compare = partial(_row, truths | {"tau_test": test.mean(axis=1)}, seconds)
    plural = "s" * (plan.warm > 1)
    rows = [
        compare(f"{text}, {score}", [cheap[name][i] for i in whole], score, cost)
        for name, text, cost in (
            ("shared", "shared weights", training.seconds),
            ("warm", f"{plan.warm} epoch{plural} from shared weights", training.seconds),
            ("cold", f"{plan.warm} epoch{plural} from scratch", 0.0),
        )
        for score in SCORES
        if cheap[name]
    ]
    images = plan.recipe.epochs * len(evaluator.data.train_x)
    return {
        "space": evaluator.space.name,
        "task": evaluator.data.task.name,
        "networks": len(whole),
        "failed": plan.networks - len(whole),
        "stand_alone": {
            "seeds": plan.seeds,
            "recipe": plan.recipe.to_json(),
            "seconds": seconds,
            "accuracy": np.quantile(both.mean(axis=1), [0, 0.25, 0.5, 0.75, 1]).tolist(),
            "ceiling": noise_floor(both.tolist()) if plan.seeds > 1 else None,
            "valid_by_test": bootstrap_tau(valid.mean(axis=1), test.mean(axis=1)),
        },
        "supernet": {
            "seed": evaluator.seed,
            "recipe": evaluator.recipe.to_json(),
            "seconds": training.seconds,
            "equivalents": training.images / images,
        },
        "rows": rows,
    }


def _row(
    truths: dict[str, Array], alone: float, name: str, found: list[Values], key: str, once: float
) -> Figures:
    """One way of estimating: how well it ranks, and what it costs.

    ``tau`` is against accuracy on all images that stand-alone training did not see, the validation
    and the test part; ``tau_valid`` and ``tau_test`` against one of them.

    ``ratio`` is seconds of a stand-alone training ÷ seconds of an estimate; ``ratio_with_supernet``
    has the training of the supernet shared out among all networks.
    """
    estimate = np.array([values[key] for values in found], dtype=np.float64)
    seconds = float(np.mean([values["seconds"] for values in found]))
    return {
        "name": name,
        **{key: bootstrap_tau(estimate, truth) for key, truth in truths.items()},
        "spearman": ranks(estimate, truths["tau"])["spearman"],
        "seconds": seconds,
        "ratio": alone / seconds,
        "ratio_with_supernet": alone / (seconds + once / len(found)),
    }


def _text(recipe: Recipe) -> str:
    return json.dumps(recipe.to_json(), sort_keys=True)


def _digest(about: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:12]
