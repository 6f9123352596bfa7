"""The page of all agents: a template of prose whose every number comes from the figures."""

from __future__ import annotations

from pathlib import Path

from benchmarks.portraits.figures import BASELINE, LEVEL, Figures
from emnas_gym.registry import resolve, reward_driven
from predictors.markdown_page import fill

TEMPLATE = Path(__file__).with_name("page.md.j2")


def write_page(figures: Figures, path: Path) -> None:
    """Writes the page.

    Args:
        figures: As `figures.read_figures` returns them, of all registered agents at least.
        path: The ``.md`` to write.
    """
    path.write_text(page_text(figures), encoding="utf-8")


def page_text(figures: Figures) -> str:
    """The page as Markdown."""
    agents, end = figures["agents"], str(figures["evaluations"])
    own = [name for name in reward_driven() if name != BASELINE]
    points = list(agents[BASELINE]["mean"])  # evaluations, as text

    def falling(name: str) -> list[float]:
        return [-agents[name]["mean"][at][1] for at in reversed(points)]

    ranked = sorted(own, key=falling)
    filters = {
        "result": lambda name: result_line(figures, name),
        "picture": picture_lines,
        "mean": lambda name: f"{agents[name]['mean'][end][1]:.4f}",
        "learns": lambda name: "yes" if resolve("agent", name).learns else "no",
        "listed": lambda names: ", ".join(f"`{name}`" for name in names) or "none",
    }
    return fill(
        TEMPLATE,
        filters,
        figures=figures,
        end=end,
        points=points,
        ranked=sorted([*own, BASELINE], key=falling),
        count=len(reward_driven()),
        random=agents[BASELINE],
        better=[name for name in ranked if agents[name]["p_holm"] < LEVEL],
        level=[name for name in ranked if agents[name]["p_holm"] >= LEVEL],
    )


def picture_lines(name: str) -> str:
    """The picture of an agent as Markdown."""
    beside = "" if name == BASELINE else " beside random search"
    alt = f"How {name} searches: best reward so far{beside}, and the evaluations of one seed"
    return f"![{alt}](images/agents/{name}.png)"


def result_line(figures: Figures, name: str) -> str:
    """What an agent reached beside random search, in one line."""
    end, agents = str(figures["evaluations"]), figures["agents"]
    one, base = agents[name], agents[BASELINE]
    low, mean, high = one["mean"][end]
    text = f"After {end} evaluations {mean:.4f} ({low:.4f} … {high:.4f}), {_found(one)}"
    if name == BASELINE:
        return f"{text}."
    p = "p < 0.001" if one["p_holm"] < 0.001 else f"p = {one['p_holm']:.3f}"
    verdict = "better" if one["p_holm"] < LEVEL else "not shown to be better"
    return (
        f"{text}; random search {base['mean'][end][1]:.4f}, {_found(base)}: {verdict} ({p}, Holm)."
    )


def _found(one: Figures) -> str:
    return f"the optimum in {one['optimum_found']} of {len(one['seeds'])} seeds"
