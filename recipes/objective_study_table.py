"""What is measured of a cell of the objective study, and the page and the figure that come of all of them."""

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import biomedclip_pocket_measure as measures
import numpy as np
import phrases
import torch
from captions import Known
from scout import between
from sklearn.metrics import roc_auc_score

from hilum.bench.resample import interval, redrawn

ROOT = Path(__file__).resolve().parents[1]
PAGE, FIGURE = ROOT / "docs/objective-study.md", ROOT / "docs/pictures/objective-study.png"
MARKS = ("<!-- measured -->", "<!-- end -->")
FIRST = "InfoNCE"
MEASURES = {
    "modality": "modality", "organ": "organ", "tumour": "tumour type, zero-shot", "tumour probe": "tumour type, probe",
    "lesion": "lesion class, zero-shot", "opacity": "opacity, AUROC within views", "negation": "claim or denial",
    "retrieval": "captions true of the first five",
}  # fmt: skip
Per = dict[str, dict[str, list[Any]]]  # measure -> truth, found, group, and view where it matters
Numbers = dict[str, dict[str, tuple[float, np.ndarray]]]  # objective -> measure -> the mean, and means of draws


@dataclass(frozen=True, slots=True)
class Eyes:
    """Unit vectors of pictures and of texts."""

    see: Callable[[list[Known]], np.ndarray]
    read: Callable[[list[str]], np.ndarray]

    def groups(self, groups: list[list[str]]) -> np.ndarray:
        """A unit vector for each group of texts."""
        means = np.stack([self.read(group).mean(0) for group in groups])
        return means / np.linalg.norm(means, axis=1, keepdims=True)


def found(eyes: Eyes, learned: list[Known], held: list[Known]) -> Per:
    """Per picture, what is true and what was said."""
    seen, people, per = eyes.see(held), measures.people(held), {}
    kinds = (("modality", phrases.WAYS, measures.MODALITIES), ("organ", phrases.ORGANS, measures.ORGANS))
    for what, words, names in kinds:
        truth = np.array([alike(each.way if what == "modality" else each.organ) for each in held])
        texts = eyes.groups([[f"this is a photo of {word}" for word in words[name]] for name in names])
        per[what] = told(truth, np.array(names)[(seen @ texts.T).argmax(1)], people)
    per |= classified(eyes, learned, held, seen, people)
    per["negation"] = negated(eyes, held, seen, people)
    per["retrieval"] = retrieved(eyes, held, seen, people)
    return per


def alike(name: str) -> str:
    return measures.ALIKE.get(name, name)


def told(
    truth: np.ndarray, said: np.ndarray, people: np.ndarray, view: np.ndarray | None = None
) -> dict[str, list[Any]]:
    more = {} if view is None else {"view": view.tolist()}
    return {"truth": truth.tolist(), "found": said.tolist(), "group": people.tolist(), **more}


def classified(eyes: Eyes, learned: list[Known], held: list[Known], seen: np.ndarray, people: np.ndarray) -> Per:
    """Tumours, lesions, and opacities on films."""
    per: Per = {}
    for source, what, names in (("brain_mri", "tumour", measures.TUMOURS), ("ultrasound", "lesion", measures.LESIONS)):

        def label(each: Known, names: tuple[str, ...] = names) -> str:
            return next((name for name in names if name in each.there), "none")

        rows = np.array([each.source == source for each in held])
        truth = np.array([label(each) for each in held if each.source == source])
        texts = eyes.groups([list(phrases.HEALTHY if name == "none" else phrases.names(name)) for name in names])
        per[what] = told(truth, np.array(names)[(seen[rows] @ texts.T).argmax(1)], people[rows])
        if what == "tumour":
            own = [each for each in learned if each.source == source]
            probe = measures.probed(eyes.see(own), [label(each) for each in own], seen[rows])
            per["tumour probe"] = told(truth, np.array(sorted(names))[probe.argmax(1)], people[rows])
    rows = np.array([each.source == "cxr" and ("opacity" in each.there or not each.there) for each in held])
    ways = ("there is {}", "there is no {}")
    claim, denial = eyes.groups([[way.format(word) for word in phrases.SAME["opacity"]] for way in ways])
    truth, views = (
        np.array(column)[rows] for column in zip(*(("opacity" in e.there, e.view) for e in held), strict=True)
    )
    per["opacity"] = told(truth, seen[rows] @ (claim - denial), people[rows], views)
    return per


def negated(eyes: Eyes, held: list[Known], seen: np.ndarray, people: np.ndarray) -> dict[str, list[Any]]:
    """Claim or denial, in words that were never trained on."""
    own = np.array([number for number, each in enumerate(held) if each.source in ("cxr", "brain_mri", "ultrasound")])
    places, sides, there = measures.claims_and_denials([held[number] for number in own])
    texts = sorted({text for side in sides for text in side})
    vectors = dict(zip(texts, eyes.read(texts), strict=True))
    claims, denials = (np.stack([vectors[text] for text in side]) for side in sides)
    margin = (seen[own][places] * (claims - denials)).sum(1)
    return told(there, margin > 0, people[own][places])


def retrieved(eyes: Eyes, held: list[Known], seen: np.ndarray, people: np.ndarray) -> dict[str, list[Any]]:
    """Of the five captions that are nearest to a picture, one of each held picture, how many are true of it."""
    rng = np.random.default_rng(0)
    said = [each.caption(rng) for each in held]
    first = np.argsort(-(seen @ eyes.read([text for text, _ in said]).T), axis=1)[:, :5]
    true = [[said[number][1] <= each.facts for number in some] for each, some in zip(held, first, strict=True)]
    return told(np.ones(len(held)), np.mean(true, axis=1), people)


def value(what: str, truth: np.ndarray, said: np.ndarray, view: np.ndarray | None) -> float:
    """The measure of some rows."""
    if what == "retrieval":
        return float(said.mean())
    if what == "opacity":
        return float(np.mean([area(truth[view == each], said[view == each]) for each in ("AP", "PA")]))
    return measures.balanced(truth, said)


def area(truth: np.ndarray, said: np.ndarray) -> float:
    """The area under the curve; not a number where one of the classes is missing."""
    return float(roc_auc_score(truth, said)) if len(np.unique(truth)) == 2 else float("nan")


def rows_of(held: list[Known]) -> dict[str, np.ndarray]:
    """Which held picture each row of a measure is about."""
    source, every = np.array([each.source for each in held]), np.arange(len(held))
    brain, breast = every[source == "brain_mri"], every[source == "ultrasound"]
    films = every[[each.source == "cxr" and ("opacity" in each.there or not each.there) for each in held]]
    asked = every[np.isin(source, ("cxr", "brain_mri", "ultrasound"))]
    pairs = asked[measures.claims_and_denials([held[number] for number in asked])[0]]
    return {
        "modality": every, "organ": every, "tumour": brain, "tumour probe": brain, "lesion": breast,
        "opacity": films, "negation": pairs, "retrieval": every,
    }  # fmt: skip


def new(learned: list[Known], held: list[Known]) -> np.ndarray:
    """Which held pictures count: where patients are unknown, those that are no near copy of one that was learned."""
    counts = np.ones(len(held), bool)
    for source in ("brain_mri", "ultrasound"):
        own = np.array([each.source == source for each in held])
        there = [each for each in held if each.source == source]
        counts[own] = measures.far_from([each for each in learned if each.source == source], there) > measures.FAR
    return counts


def kept(cell: dict[str, Any], held: list[Known], counts: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
    """A cell's rows that count, grouped by the patients of today's bank."""
    people, found = measures.people(held), {}
    for what, places in rows_of(held).items():
        columns = {key: np.array(column) for key, column in cell["found"][what].items()}
        if columns["truth"].dtype.kind == "U":  # numbers compare faster than words
            names = np.unique(np.concatenate([columns["truth"], columns["found"]]))
            columns |= {key: np.searchsorted(names, columns[key]) for key in ("truth", "found")}
        if len(places) != len(columns["truth"]):
            raise SystemExit(
                f"{cell['objective']}, seed {cell['seed']}: {len(columns['truth'])} rows of {what}, but {len(places)} "
                "are held in the bank; the bank was made anew since: remove runs/objective_study and run again"
            )
        columns["group"] = people[places]
        found[what] = {key: column[counts[places]] for key, column in columns.items()}
    return found


def drawn(per: list[dict[str, np.ndarray]], what: str, draws: int = 400) -> tuple[float, np.ndarray]:
    """The mean over seeds, and as many means of patients and seeds drawn anew; the same draws for every objective."""

    def of(each: dict[str, np.ndarray], rows: np.ndarray) -> float:
        some = {key: column[rows] for key, column in each.items()}
        return value(what, some["truth"], some["found"], some.get("view"))

    every, found, rng = np.arange(len(per[0]["truth"])), [], np.random.default_rng(1)
    for rows in redrawn(per[0]["group"], draws=draws):
        found.append(np.mean([of(per[number], rows) for number in rng.integers(0, len(per), len(per))]))
    return float(np.mean([of(each, every) for each in per])), np.array(found)


def chance(what: str, truth: np.ndarray, held: list[Known]) -> float:
    """What a guess that looks at nothing gets."""
    if what == "retrieval":
        rng = np.random.default_rng(0)
        said = [each.caption(rng)[1] for each in held]
        return float(np.mean([[told <= each.facts for told in said] for each in held]))
    return 0.5 if what == "opacity" else 1 / len(np.unique(truth))


def complete(out: Path) -> dict[str, list[dict[str, Any]]]:
    """The cells of each objective, of those seeds that every objective has; otherwise nothing could be paired."""
    cells: dict[str, dict[int, dict[str, Any]]] = {}
    for file in out.glob("*.json"):
        cell = json.loads(file.read_text())
        cells.setdefault(cell["objective"], {})[cell["seed"]] = cell
    if FIRST not in cells:
        raise SystemExit(f"{out} has no cell of {FIRST}: python recipes/objective_study.py run")
    seeds = sorted(set.intersection(*(set(some) for some in cells.values())))
    order = sorted(cells, key=lambda name: (name != FIRST, name))
    return {name: [cells[name][seed] for seed in seeds] for name in order}


def table(given: argparse.Namespace) -> None:
    """The page between its marks, and the figure."""
    cells = complete(given.out)
    learned, held = measures.recipe.split(torch.load(measures.recipe.OUT / "bank.pt", weights_only=False))
    counts = new(learned, held)
    rows = {name: [kept(cell, held, counts) for cell in some] for name, some in cells.items()}
    numbers = {
        name: {what: drawn([each[what] for each in some], what) for what in MEASURES} for name, some in rows.items()
    }
    head = [f"| objective | {' | '.join(MEASURES.values())} | seconds |", "|---" * (len(MEASURES) + 2) + "|"]
    lines = []
    for name, some in cells.items():
        first = None if name == FIRST else numbers[FIRST]
        parts = [told_cell(numbers[name][what], first and first[what]) for what in MEASURES]
        lines.append(f"| {name} | {' | '.join(parts)} | {np.mean([cell['seconds'] for cell in some]):.0f} |")
    by_chance = [f"{chance(what, rows[FIRST][0][what]['truth'], held):.2f}" for what in MEASURES]
    lines.append(f"| by chance | {' | '.join(by_chance)} | |")
    said = sentence(cells, numbers, int((~counts).sum()))
    picture = f"![Every objective beside InfoNCE](pictures/{FIGURE.name})"
    between(PAGE, MARKS, ["", *said, "", *head, *lines, "", picture, ""])
    drawn_figure(list(cells), numbers)
    print("\n".join([*said, *head, *lines]))


def sentence(cells: dict[str, list[dict[str, Any]]], numbers: Numbers, copies: int) -> list[str]:
    """What stands above the table."""
    every = [cell for some in cells.values() for cell in some]
    steps = ", ".join(str(each) for each in sorted({cell["steps"] for cell in every}))
    others = [(name, what) for name in cells if name != FIRST for what in MEASURES]
    off = sum(apart(numbers[name][what], numbers[FIRST][what]) for name, what in others)
    return [
        f"{len(every)} cells, {len(cells[FIRST])} seeds, {steps} steps of 48 pictures each. Mean of the seeds [95 %: "
        "patients and seeds drawn",
        f"anew]; bold where the paired difference to {FIRST} is off zero: {off} of {len(others)} differences, of which "
        f"about {0.05 * len(others):.0f} would be",
        f"by luck alone. {copies} held pictures that are near copies of learned ones do not count. Seconds of training "
        "on a shared machine: no measure of speed.",
    ]


def apart(own: tuple[float, np.ndarray], first: tuple[float, np.ndarray]) -> bool:
    """Whether the interval of the paired difference leaves zero out."""
    low, high = interval(own[1] - first[1])
    return bool(low > 0 or high < 0)


def told_cell(own: tuple[float, np.ndarray], first: tuple[float, np.ndarray] | None) -> str:
    low, high = interval(own[1])
    mark = "**" if first is not None and apart(own, first) else ""
    return f"{mark}{own[0]:.2f}{mark} [{low:.2f}, {high:.2f}]"


def drawn_figure(order: list[str], numbers: Numbers) -> None:
    """The difference of each to InfoNCE, by measure."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    others = [name for name in order if name != FIRST]
    figure, axes = pyplot.subplots(1, len(others), figsize=(3 * len(others), 3.6), sharey=True, layout="constrained")
    for axis, name in zip(np.atleast_1d(axes), others, strict=True):
        for row, what in enumerate(MEASURES):
            low, high = interval(numbers[name][what][1] - numbers[FIRST][what][1])
            axis.plot([low, high], [row, row], color="#3b6ea5", lw=2)
            axis.plot(numbers[name][what][0] - numbers[FIRST][what][0], row, "o", color="#3b6ea5")
        axis.axvline(0, color="0.6", lw=1)
        axis.set(title=name, xlabel=f"minus {FIRST}", yticks=range(len(MEASURES)), yticklabels=list(MEASURES.values()))
    np.atleast_1d(axes)[0].invert_yaxis()
    figure.savefig(FIGURE, dpi=110)
