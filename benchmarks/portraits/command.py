"""``python -m benchmarks portraits``: how every agent searches a space that is known as a whole."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from benchmarks.portraits.figures import (
    BASELINE,
    Figures,
    collected,
    read_figures,
    record,
    text_of,
)
from benchmarks.portraits.page import write_page
from benchmarks.portraits.picture import draw_overview, draw_portrait
from benchmarks.portraits.runs import Run, RunFile, Sitter, World
from emnas_gym.door import print_json
from emnas_gym.errors import StoreError
from emnas_gym.registry import reward_driven

SLOW = {"bananas": 10, "pnas": 10, "cartographer": 10, "gp": 10}  # most seeds; seconds a run
console = Console(stderr=True)


def portraits_command(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Agents, by name or import string; all that need nothing but rewards if none."
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option(help="Where agents.json, agents.md and images/agents are written.")
    ] = Path("docs"),
    runs: Annotated[Path, typer.Option(help="Folder of the runs, by which it resumes.")] = Path(
        "runs/portraits"
    ),
    seeds: Annotated[
        int, typer.Option(help=f"Runs of an agent; of {', '.join(SLOW)} at most 10.", min=2)
    ] = 30,
    evaluations: Annotated[int, typer.Option(help="Of each run.", min=10)] = 200,
    fresh: Annotated[bool, typer.Option(help="Forgets the stored runs of these agents.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Draws how agents search the 1,860 networks of `emnas-bench-8`, all of which are known.

    Each agent searches with its default options. Its picture has the mean of the best reward so
    far beside random search's, and one search evaluation by evaluation. agents.json has the
    numbers: means with intervals, regret, and whether random search is beaten (Mann-Whitney,
    Holm over all agents of the file). With names, the other agents of agents.json stay as they are.

    Interrupt it as you like: the same command goes on from the runs that are stored.

    Examples:
    python -m benchmarks portraits evolution reinforce --out runs/mine --seeds 5
    PYTHONPATH=examples python -m benchmarks portraits agent_template:MyAgent --out runs/mine
    """
    command = shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]])
    settings = Settings(out, runs, seeds, evaluations, fresh, command)
    sitters = [Sitter.of(name) for name in names or reward_driven()]
    total = sum(settings.seeds_of(sitter.name) for sitter in with_baseline(sitters))
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(TextColumn("{task.description}"), *columns, console=console) as bar:
        task = bar.add_task("searching", total=total)
        figures = portray(
            sitters, settings, lambda name: bar.update(task, advance=1, description=name)
        )
    if as_json:
        print_json(figures)
        return
    missing = sorted(set(reward_driven()) - set(figures["agents"]))
    console.print(f"figures: {out / 'agents.json'}, pictures: {out / 'images' / 'agents'}")
    page = f"page: {out / 'agents.md'}"
    console.print(f"no page: it needs {', '.join(missing)} too" if missing else page)


@dataclass(frozen=True)
class Settings:
    """What the command was told.

    Attributes:
        out: Where the results are written.
        runs: Folder of the runs.
        seeds: Runs of an agent that is not slow.
        evaluations: Of each run.
        fresh: Whether stored runs are forgotten.
        command: As it was typed.
    """

    out: Path
    runs: Path
    seeds: int = 30
    evaluations: int = 200
    fresh: bool = False
    command: str = ""

    def seeds_of(self, name: str) -> int:
        """Runs of an agent."""
        return min(self.seeds, SLOW.get(name, self.seeds))


def with_baseline(sitters: Iterable[Sitter]) -> list[Sitter]:
    """The agents, each once, the baseline first whether it was named or not."""
    named = {sitter.name: sitter for sitter in sitters}
    return list(({BASELINE: Sitter.of(BASELINE)} | named).values())


def portray(
    sitters: Sequence[Sitter],
    settings: Settings,
    advance: Callable[[str], None] = lambda name: None,
    world: World | None = None,
) -> Figures:
    """Searches what is not stored, and writes figures, pictures and, if all are there, the page.

    Args:
        sitters: The agents; the baseline searches too.
        settings: Where, how many, how long.
        advance: Called with the agent's name after each run.
        world: What is searched; the whole table if None.

    Returns:
        What stands in ``agents.json``.

    Raises:
        StoreError: If stored runs or figures are damaged, or of other settings.
        BackendMissing: If matplotlib is not there.
    """
    world = world or World.whole_table()
    file, pictures = settings.out / "agents.json", settings.out / "images" / "agents"
    records = _earlier(file, settings.evaluations, world)
    found: dict[str, list[Run]] = {}
    for sitter in with_baseline(sitters):
        stored = RunFile(settings.runs, sitter, world, settings.evaluations, settings.fresh)
        found[sitter.name] = []
        for seed in range(settings.seeds_of(sitter.name)):
            found[sitter.name].append(stored.run(seed))
            advance(sitter.name)
        records[sitter.name] = record(found[sitter.name], settings.evaluations)
    for name, runs in found.items():
        path = pictures / f"{name}.png"
        draw_portrait(name, runs, found[BASELINE], world.optimum, path)
    figures = collected(world, settings.evaluations, records, settings.command)
    draw_overview(figures, pictures / "overview.png")
    file.write_text(text_of(figures), encoding="utf-8")
    if set(reward_driven()) <= set(figures["agents"]):
        write_page(figures, settings.out / "agents.md")
    return figures


def _earlier(file: Path, evaluations: int, world: World) -> dict[str, Figures]:
    """Records of an earlier file, which are kept.

    Raises:
        StoreError: If it is damaged, or of another search.
    """
    if not file.exists():
        return {}
    figures = read_figures(file)
    known = (figures["evaluations"], figures["problem"])
    if known != (evaluations, world.problem.to_json()):
        raise StoreError(
            f"{file}: of {known[0]} evaluations, or another problem; write elsewhere with --out"
        )
    return dict(figures["agents"])
