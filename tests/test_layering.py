"""How the house is built: imports run one way, without cycles; nothing unsafe is loaded."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from emnas_gym import registry

ROOT = Path(__file__).parents[1]
FOLDERS = ("emnas_gym", "hardware", "predictors", "agents", "benchmarks")  # the one line
SINKS = {"utils", "util", "common", "helpers", "helper", "misc", "tools"}
FILES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {_module(path): path for path in FILES}


def _imports(tree: ast.AST, typing_too: bool = False) -> Iterator[str]:
    """Names of imported modules; ``a.b`` for ``from a import b`` where that is a module of ours."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from _imports(node, True) if typing_too else ()
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in MODULES else str(node.module)
        else:
            yield from _imports(node, typing_too)


def _strings(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_there_is_something_to_look_at() -> None:
    assert len(FILES) > 60
    assert {path.relative_to(ROOT).parts[0] for path in FILES} == set(FOLDERS)


@pytest.mark.parametrize("folder", FOLDERS)
def test_imports_run_one_way(folder: str) -> None:
    """Even for types: a folder may import what stands before it, never what comes after."""
    later = FOLDERS[FOLDERS.index(folder) + 1 :]
    wrong = [
        f"{name} imports {imported}"
        for name, path in MODULES.items()
        if name.partition(".")[0] == folder
        for imported in _imports(tree_of(path), typing_too=True)
        if imported.partition(".")[0] in (*later, "tests", "conftest")
    ]
    assert wrong == []


def test_no_import_cycles() -> None:
    graph = {
        name: {
            imported
            for imported in _imports(tree_of(path))
            if imported in MODULES and imported != name
        }
        for name, path in MODULES.items()
    }
    order: list[str] = []
    state: dict[str, int] = {}

    def visit(name: str, path: tuple[str, ...]) -> None:
        if state.get(name) == 1:
            raise AssertionError("cycle: " + " → ".join([*path[path.index(name) :], name]))
        if name in state:
            return
        state[name] = 1
        for imported in sorted(graph[name]):
            visit(imported, (*path, name))
        state[name] = 2
        order.append(name)

    for name in sorted(graph):
        visit(name, ())
    assert len(order) == len(graph)


def test_no_module_is_named_after_a_library_or_is_a_kitchen_sink() -> None:
    used = {n.partition(".")[0] for path in FILES for n in _imports(tree_of(path), True)}
    used |= set(registry.EXTRAS)
    for path in FILES:
        assert path.stem not in SINKS, path
        if not path.stem.startswith("__"):
            assert path.stem not in used, f"{path} is named after a library that we use"


FORBIDDEN = {"eval", "exec", "compile", "__import__"}
PICKLES = {"pickle", "cPickle", "dill", "joblib", "shelve", "marshal", "cloudpickle"}


@pytest.mark.parametrize("path", FILES, ids=_module)
def test_nothing_from_outside_is_ever_executed(path: Path) -> None:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ImportFrom):
            assert node.module not in PICKLES, f"{path}:{node.lineno}"
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in PICKLES:
            assert node.attr == "UnpicklingError", f"{path}:{node.lineno}"
        if not isinstance(node, ast.Call):
            continue
        where = f"{path}:{node.lineno}"
        name = ast.unparse(node.func)
        keywords = {k.arg: ast.unparse(k.value) for k in node.keywords}
        if isinstance(node.func, ast.Name):
            assert name not in FORBIDDEN, where
        if name in ("torch.load", "th.load"):
            assert keywords.get("weights_only") == "True", where
        if name in ("np.load", "numpy.load", "np.lib.format.read_array"):
            assert keywords.get("allow_pickle", "False") == "False", where
            assert "allow_pickle" in keywords, f"{where}: say allow_pickle=False"
        if name.endswith((".extractall", ".extract")):
            assert keywords.get("filter") in ('"data"', "'data'"), where
        assert keywords.get("shell", "False") == "False", where


def test_yaml_is_never_loaded_unsafely() -> None:
    for path in FILES:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Attribute) and ast.unparse(node) in ("yaml.load", "os.system"):
                raise AssertionError(f"{path}:{node.lineno}")


@pytest.mark.parametrize("path", FILES, ids=_module)
def test_every_module_says_what_it_is_for(path: Path) -> None:
    text = ast.get_docstring(tree_of(path))
    assert text, f"{path} has no docstring"
    assert text.partition("\n")[0].rstrip().endswith((".", ":", "``", "?")), path


def test_the_names_of_ours_in_the_registry_exist() -> None:
    assert set(registry.FOLDERS) == set(FOLDERS) - {"emnas_gym"}
    for table in registry.TABLES.values():
        for target in table.values():
            module, _, attribute = target.partition(":")
            defined = {
                node.name for node in tree_of(MODULES[module]).body
                if isinstance(node, (ast.ClassDef, ast.FunctionDef))
            }  # fmt: skip
            assert attribute in defined
