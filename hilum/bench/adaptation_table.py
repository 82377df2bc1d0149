"""The adaptation study as a table and a figure, and the page that they are written into."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..io.atomic import replacing
from ..values.errors import BadInput, MissingExtra
from .adaptation import ALL, Result, Study
from .measure import interval

MARKS = ("<!-- measured -->", "<!-- end -->")
HEAD = ("method", "prompt", "Dice", "NSD", "seeds", "trained", "minutes", "peak memory", "adapter")


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """A method on a target with so many cases, all seeds together."""

    target: str
    method: str
    cases: int
    results: Sequence[Result]

    def number(self, name: str) -> tuple[float, float, float]:
        """Mean of "dice" or "nsd", and its 95 % interval over held cases (a case's seeds stay together)."""
        told = [(case, value) for each in self.results for case, value in getattr(each, name).items()]
        values, groups = np.array([value for _, value in told]), np.array([case for case, _ in told])
        return float(values.mean()), *interval(values, groups)

    def mean(self, name: str) -> float:
        """Mean of a plain number over seeds."""
        return float(np.mean([getattr(each, name) for each in self.results]))


def rows(results: Sequence[Result]) -> list[Row]:
    """One for each target, method and number of cases, in the order in which they were first measured."""
    groups: dict[tuple[str, str, int], list[Result]] = {}
    for each in sorted(results, key=lambda one: (one.cell.target, one.cell.method, one.cell.seed)):
        groups.setdefault((each.cell.target, each.cell.method, each.cell.cases), []).append(each)
    return [Row(*key, found) for key, found in groups.items()]


def untrained(row: Row) -> bool:
    """Whether the SAM was asked as it is."""
    return row.mean("trained") == 0


def markdown(results: Sequence[Result], cases: int, study: Study) -> str:
    """A table for each target, the methods by their Dice; only cells with this many cases, and those without."""
    lines = []
    there = [row for row in rows(results) if row.cases == cases or untrained(row)]
    for target in dict.fromkeys(row.target for row in there):
        here = sorted((row for row in there if row.target == target), key=lambda row: -row.number("dice")[0])
        held = len(here[0].results[0].dice)
        lines += [f"\n**{target}**: {cases or 'all'} cases to learn from, {held} held\n"]
        lines += [_line(HEAD), _line(["---"] * len(HEAD)), *(_line(_cells(row)) for row in here)]
    return "\n".join([*_settings(results, study), *lines])


def _settings(results: Sequence[Result], study: Study) -> list[str]:
    seeds = len({each.cell.seed for each in results if each.trained})
    return [
        f"{len(results)} cells; {study.steps} steps of {study.batch} pictures each, {seeds} seeds, {study.precision}. "
        "Mean and 95 % interval over held cases; NSD at 0.5 % of the picture's longer side, at least one pixel. "
        "Minutes are those of one core, training only; memory is the peak of the whole process; the adapter is a file "
        "of what was trained, f32. Boxes are a little off (5 %), clicks the middle: who is prompted is told where the "
        "object is, and those without a prompt are not, so compare within a prompt."
    ]


def _cells(row: Row) -> list[str]:
    numbers = ["{:.3f} [{:.3f}, {:.3f}]".format(*row.number(name)) for name in ("dice", "nsd")]
    memory = f"{row.mean('memory') / 2**30:.1f} GB" if row.mean("memory") else ""
    if untrained(row):
        return [row.method, row.results[0].prompt, *numbers, "", "0", "", memory, ""]
    trained, minutes = f"{row.mean('trained'):,.0f}", f"{row.mean('minutes'):.1f}"
    size = f"{row.mean('size') / 1e6:.2f} MB"
    return [row.method, row.results[0].prompt, *numbers, str(len(row.results)), trained, minutes, memory, size]


def _line(words: Sequence[str]) -> str:
    return f"| {' | '.join(words)} |"


def curve(results: Sequence[Result]) -> str:
    """Dice over the number of cases, for what was measured at more than one number."""
    found = several(results)
    if not found:
        return ""
    head = ("target", "method", "cases", "Dice")
    lines = [_line(head), _line(["---"] * len(head))]
    for row in found:
        number = "{:.3f} [{:.3f}, {:.3f}]".format(*row.number("dice"))
        lines.append(_line([row.target, row.method, f"{row.mean('drawn'):.0f}", number]))
    return "\n".join(["\n**How many cases**\n", *lines])


def several(results: Sequence[Result]) -> list[Row]:
    """Rows of the methods and targets that were measured at more than one number of cases, fewest first."""
    trained = [row for row in rows(results) if not untrained(row)]
    counts: dict[tuple[str, str], set[int]] = {}
    for row in trained:
        counts.setdefault((row.target, row.method), set()).add(row.cases)
    found = [row for row in trained if len(counts[row.target, row.method]) > 1]
    return sorted(found, key=lambda row: (row.target, row.method, row.cases == ALL, row.cases))


def draw(results: Sequence[Result], cases: int, path: Path) -> Path:
    """Dice of every method on every target (above), and over the number of cases (below)."""
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot as plt
    except ImportError as error:
        raise MissingExtra("the figure", "matplotlib", "bench") from error
    there = [row for row in rows(results) if row.cases == cases or untrained(row)]
    targets = list(dict.fromkeys(row.target for row in there))
    names = list(dict.fromkeys(row.method for row in there))
    over = several(results)
    figure = plt.figure(figsize=(2.6 * len(targets) + 2.2, 0.3 * len(names) + (4.6 if over else 1.6)))
    grid = figure.add_gridspec(
        2 if over else 1, len(targets), height_ratios=[0.3 * len(names) + 1, 3][: 1 + bool(over)]
    )
    for place, target in enumerate(targets):
        axis = figure.add_subplot(grid[0, place])
        _dots(axis, [row for row in there if row.target == target], names, labelled=place == 0)
        axis.set_title(target, fontsize=9)
    for place, target in enumerate(dict.fromkeys(row.target for row in over)):
        axis = figure.add_subplot(grid[1, place])
        _lines(axis, [row for row in over if row.target == target])
        axis.set_title(f"{target}: cases", fontsize=9)
    figure.tight_layout()
    with replacing(path, force=True) as temporary:
        figure.savefig(temporary, dpi=130, format="png")
    plt.close(figure)
    return path


def _dots(axis, here: Sequence[Row], names: Sequence[str], *, labelled: bool) -> None:  # type: ignore[no-untyped-def]
    colours = {"box": "#0969da", "click": "#bf8700", "none": "#1a7f37"}
    for row in here:
        mean, low, high = row.number("dice")
        at = len(names) - 1 - names.index(row.method)
        axis.plot([low, high], [at, at], color=colours[row.results[0].prompt], lw=1.5)
        axis.plot([mean], [at], "o", color=colours[row.results[0].prompt], ms=4)
    axis.set_yticks(range(len(names)), list(reversed(names)) if labelled else [""] * len(names), fontsize=8)
    axis.set_ylim(-0.6, len(names) - 0.4)
    axis.set_xlim(0, 1)
    axis.tick_params(axis="x", labelsize=7)
    axis.grid(alpha=0.25)
    axis.set_xlabel("Dice (blue: box, yellow: click, green: none)" if labelled else "Dice", fontsize=7)


def _lines(axis, here: Sequence[Row]) -> None:  # type: ignore[no-untyped-def]
    for method in dict.fromkeys(row.method for row in here):
        mine = [row for row in here if row.method == method]
        numbers = np.array([row.number("dice") for row in mine])
        counts = [row.mean("drawn") for row in mine]
        axis.errorbar(counts, numbers[:, 0], abs(numbers[:, 1:].T - numbers[:, 0]), marker="o", ms=3.5, label=method)
    axis.set_xscale("log")
    axis.set_xticks([row.mean("drawn") for row in mine], [f"{row.mean('drawn'):.0f}" for row in mine])
    axis.minorticks_off()
    axis.set_ylim(0, 1)
    axis.grid(alpha=0.25)
    axis.legend(fontsize=7)


def write(page: Path, text: str) -> None:
    """Puts the text between the page's two marks; what people wrote around them stays."""
    told = page.read_text(encoding="utf-8") if page.is_file() else ""
    head, first, rest = told.partition(MARKS[0])
    _, last, tail = rest.partition(MARKS[1])
    if not (first and last):
        raise BadInput(f"{page} has no lines {MARKS[0]} and {MARKS[1]}, between which the study is written: add them")
    with replacing(page, force=True) as temporary:
        temporary.write_text(f"{head}{first}\n{text}\n{last}{tail}", encoding="utf-8")
