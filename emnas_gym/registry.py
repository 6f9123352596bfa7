"""Short names and import strings for what can be swapped, resolved when they are asked for."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emnas_gym.errors import BackendMissing, DomainError, EmNASError, UnknownName
from emnas_gym.evaluator import Evaluator, EvaluatorStack

if TYPE_CHECKING:
    from emnas_gym.problem import Problem

TABLES: dict[str, dict[str, str]] = {
    "evaluator": {
        "analytic": "emnas_gym.analytic:AnalyticEvaluator",
        "surrogate": "emnas_gym.surrogate:SurrogateEvaluator",
        "bench": "emnas_gym.bench:BenchEvaluator",
        "trained": "predictors.trained:TrainedEvaluator",
        "trained-ray": "predictors.ray_trained:RayTrainedEvaluator",
        "shared": "predictors.supernet.shared_evaluator:SharedEvaluator",
        "early-stopped": "predictors.proxies.early_stopped:EarlyStoppedEvaluator",
        "audited": "predictors.audit:AuditedEvaluator",
        "host": "hardware.host:HostEvaluator",
        "npu": "hardware.npu:NpuEvaluator",
        "emulated": "hardware.emulated:EmulatedEvaluator",
        "boards": "hardware.boards:BoardEvaluator",
    },
    "driver": {
        "framed": "hardware.drivers.framed:FramedDriver",
        "emulated": "hardware.drivers.framed:EmulatedDriver",
        "host": "hardware.drivers.here:HostDriver",
        "npu": "hardware.drivers.here:NpuDriver",
        "mlperf_tiny": "hardware.drivers.mlperf_tiny:MLPerfTinyDriver",
        "jevois": "hardware.drivers.jevois:JeVoisDriver",
        "manual": "hardware.drivers.manual:ManualDriver",
        "maixpy": "hardware.drivers.maixpy:MaixPyDriver",
    },
    "agent": {
        "random": "agents.random_search:RandomSearch",
        "evolution": "agents.evolution:RegularisedEvolution",
        "q-learning": "agents.q_learning:QLearning",
        "genetic": "agents.genetic:Genetic",
        "nsga2": "agents.nsga2:NSGA2",
        "munas": "agents.munas:MuNAS",
        "local-search": "agents.local_search:LocalSearch",
        "annealing": "agents.annealing:Annealing",
        "tpe": "agents.optuna_peers:TPE",
        "cma-es": "agents.optuna_peers:CMAES",
        "reinforce": "agents.reinforce:Reinforce",
        "ppo": "agents.sb3:PPOAgent",
        "a2c": "agents.sb3:A2CAgent",
        "maskable-ppo": "agents.sb3:MaskablePPOAgent",
        "controller-v1": "agents.original.controller_v1:ControllerV1",
        "controller-v2": "agents.original.controller_v2:ControllerV2",
        "lstm-v1": "agents.original.lstm_v1:LSTMV1",
        "lstm-v2-1": "agents.original.lstm_v2_1:LSTMV21",
        "lstm-v2-2": "agents.original.lstm_v2_2:LSTMV22",
        "lstm-v2-3": "agents.original.lstm_v2_3:LSTMV23",
        "ff-v1": "agents.original.ff_v1:FFV1",
        "ff-v2": "agents.original.ff_v2:FFV2",
        "ff-v3": "agents.original.ff_v3:FFV3",
        "dqn": "agents.dqn:DQNAgent",
        "recurrent-ppo": "agents.recurrent_ppo:RecurrentPPOAgent",
        "factorised-reinforce": "agents.factorised_reinforce:FactorisedReinforce",
        "network-policy": "agents.network_policy:NetworkPolicy",
        "position-reinforce": "agents.position_reinforce:PositionReinforce",
        "bananas": "agents.guided.bananas:Bananas",
        "pnas": "agents.guided.pnas:Pnas",
        "train-sort": "agents.guided.train_sort:TrainSort",
        "gp": "agents.guided.gaussian_search:GaussianSearch",
        "cartographer": "agents.guided.cartographer:Cartographer",
        "darts": "agents.differentiable.darts:Darts",
        "gdas": "agents.differentiable.gdas:Gdas",
        "pc-darts": "agents.differentiable.pc_darts:PCDarts",
        "proxyless": "agents.differentiable.proxyless:Proxyless",
    },
}
NEED_IMAGES = ("darts", "gdas", "pc-darts", "proxyless")  # agents that train supernets (`needs`)
FITTED = "emnas_gym.fitted:FittedEvaluator"
PREDICTOR = ".json"  # what ends so is the path of a fitted predictor, no name
FOLDERS = ("hardware", "predictors", "agents", "benchmarks")  # in the repository, not in the wheel
EXTRAS = {  # what a missing module is installed with
    "torch": "torch",
    "sklearn": "all",
    "stable_baselines3": "sb3",
    "sb3_contrib": "sb3",
    "ai_edge_litert": "litert",
    "flatbuffers": "litert",
    "ethosu": "vela",
    "serial": "serial",
    "matplotlib": "render",
    "jinja2": "report",
    "pyarrow": "table",
    "ray": "ray",
    "rliable": "report",
    "optuna": "optuna",
    "cmaes": "optuna",
}


def names(kind: str) -> list[str]:
    """Known names of a kind, those of third parties included."""
    return sorted({*TABLES[kind], *(ep.name for ep in entry_points(group=f"emnas_gym.{kind}s"))})


def reward_driven() -> list[str]:
    """Our agents that need nothing but networks and their rewards, in the order of the registry.

    They search whatever there is, tables and surrogates too. The others need images, and cells.
    """
    return [name for name in TABLES["agent"] if name not in NEED_IMAGES]


def resolve(kind: str, name: str) -> Any:  # noqa: ANN401
    """Imports what a name stands for.

    Args:
        kind: ``"evaluator"``, ``"driver"`` or ``"agent"``.
        name: A known name, or an import string ``"package.module:attribute"``.

    Raises:
        UnknownName: If the name is unknown; the nearest ones are listed.
        BackendMissing: If a folder of the repository or an extra is not there.
    """
    if ":" in name:
        return import_string(name)
    if name in TABLES[kind]:
        return import_string(TABLES[kind][name], name)
    for point in entry_points(group=f"emnas_gym.{kind}s", name=name):
        return point.load()
    hint = "An import string 'package.module:Name' is understood too."
    raise UnknownName(kind, name, names(kind), hint)


def import_string(path: str, name: str = "") -> Any:  # noqa: ANN401
    """Imports ``package.module:attribute``.

    Raises:
        BackendMissing: If a module cannot be found; says how to get it.
        UnknownName: If it is not of this form, or there is no such module or attribute.
    """
    module_name, _, attribute = path.partition(":")
    if not all(part.isidentifier() for part in [*module_name.split("."), attribute]):
        raise UnknownName("import string", path, (), "(expected 'package.module:Name')")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or module_name
        package, _, last = missing.rpartition(".")
        if package and _is_there(package.partition(".")[0]):  # a typo, nothing to install
            known = _modules(package)
            raise UnknownName(f"module of {package}", last, known) from error
        raise BackendMissing(_how_to_get(name or path, missing)) from error
    if not hasattr(module, attribute):
        public = [key for key in vars(module) if not key.startswith("_")]
        raise UnknownName(f"attribute of {module_name}", attribute, public)
    return getattr(module, attribute)


def _is_there(package: str) -> bool:
    return package in sys.modules or importlib.util.find_spec(package) is not None


def _modules(package: str) -> list[str]:
    """Names of the modules of a package; none where it cannot be imported."""
    try:
        paths = getattr(importlib.import_module(package), "__path__", [])
    except ModuleNotFoundError:
        return []
    return [module.name for module in pkgutil.iter_modules(paths)]


def _how_to_get(name: str, missing: str) -> str:
    top = missing.partition(".")[0]
    if top in FOLDERS:
        return (
            f"{name!r} lives in the folder {top}/ of the repository, which the wheel does not "
            "contain: clone the repository and run from its root (`make search` shows how)"
        )
    extra = EXTRAS.get(top)
    command = f"pip install 'emnas-gym[{extra}]'" if extra else f"pip install {top}"
    return f"{name!r} needs the package {top}: {command}"


Spec = str | Path | Evaluator | Sequence["str | Path | Evaluator"]


def make_evaluator(spec: Spec, problem: Problem) -> Evaluator:
    """Makes the evaluator of an environment from what a user wrote.

    An object that is the only one is used as it is. Names are made for the problem; costs that
    follow from shapes come first, and where nothing named provides the accuracy that the reward
    needs, the surrogate does, so that ``evaluator="host"`` swaps the latency alone.

    Args:
        spec: A name, the path of a predictor's ``.json`` file, an object, or several of these, a
            later one overriding an earlier one's fields.
        problem: What is evaluated.

    Raises:
        UnknownName, BackendMissing: If a name cannot be resolved.
        DomainError: If the problem lies outside an evaluator's domain.
        SurrogateFileError: If a predictor file is missing or damaged.
        EmNASError: If the reward needs a field that nothing provides.
    """
    if isinstance(spec, Evaluator):
        _check_domain(spec, problem)
        if spec.provides:  # one that does not say what it provides is believed
            _check_provided(spec, type(spec).__name__, problem)
        return spec
    if not isinstance(spec, (str, Path, list, tuple)):
        raise EmNASError(
            f"an evaluator is a name, an object or a list of these, not {spec!r}"
            + (": make an object of the class" if isinstance(spec, type) else "")
        )
    given = [spec] if isinstance(spec, (str, Path)) else list(spec)
    parts = [_make_part(part, problem) for part in given]
    analytic = _make_part("analytic", problem)
    if "accuracy" not in _provided(parts):
        parts.insert(0, _make_part("surrogate", problem))
    stack = EvaluatorStack([analytic, *parts])
    names = [str(part) if isinstance(part, (str, Path)) else type(part).__name__ for part in given]
    _check_provided(stack, " + ".join(names), problem)
    return stack


def _check_domain(evaluator: Evaluator, problem: Problem) -> None:
    difference = evaluator.domain.difference(problem)
    if difference:
        raise DomainError(
            f"{type(evaluator).__name__} was made for another problem: {difference}; make it, or "
            "the environment, for what it was fitted for"
        )


def _check_provided(evaluator: Evaluator, name: str, problem: Problem) -> None:
    missing = set(problem.reward.objectives) - evaluator.provides
    if missing:
        raise EmNASError(
            f"the reward {problem.reward.name} needs {', '.join(sorted(missing))}, which {name} on "
            f"{problem.device.name} does not provide; add an evaluator that does, "
            "e.g. evaluator=['surrogate', 'host']"
        )


def _provided(parts: Iterable[Evaluator]) -> set[str]:
    return {field for part in parts for field in part.provides}


def _make_part(part: str | Path | Evaluator, problem: Problem) -> Evaluator:
    if isinstance(part, Evaluator):
        _check_domain(part, problem)
        return part
    if isinstance(part, (str, Path)) and str(part).endswith(PREDICTOR):
        made: Evaluator = resolve("evaluator", FITTED)(part).checked_for(problem)
        return made
    found = resolve("evaluator", part) if isinstance(part, str) else part
    if not isinstance(found, type) or not issubclass(found, Evaluator):
        raise EmNASError(f"{part!r} is no evaluator: a subclass of emnas_gym.Evaluator is needed")
    return found.for_problem(problem)
