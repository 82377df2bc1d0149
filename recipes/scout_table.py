"""Scout's table: Dice per source for every prompt, beside the ellipse and the shuffled image, with intervals."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from scout_cases import Case
from torch import Tensor

from hilum.parts import interaction
from hilum.parts.crop_dialogue import Clicks, Dialogue, Drawn
from hilum.systems.scout import Scout

COLUMNS = ("ellipse", "box", "shuffled", "box+1", "box+3", "box+5", "click", "3 clicks", "5 clicks")
NOTHING = Clicks(np.zeros((0, 2)), np.zeros(0, bool))


@dataclass(frozen=True, slots=True)
class Round:
    """One answer: after which prompt, its Dice, its confidence, and the features the confidence is read from."""

    prompt: str
    dice: float
    confidence: float
    features: tuple[float, ...]


def overlap(guess: Bool[np.ndarray, "h w"], mask: Bool[np.ndarray, "h w"]) -> float:
    return float(2 * (guess & mask).sum() / max(guess.sum() + mask.sum(), 1))


def ellipse(box: Float[np.ndarray, "2 2"], shape: tuple[int, ...]) -> Bool[np.ndarray, "h w"]:
    """Filled, inscribed in the box."""
    y, x = np.ogrid[: shape[0], : shape[1]]
    (u, v), (a, b) = box.mean(0), (box[1] - box[0] + 1) / 2
    return ((x - u) / a) ** 2 + ((y - v) / b) ** 2 <= 1


@torch.inference_mode()
def measured(scout: Scout, case: Case, other: Case) -> Iterator[Round]:
    """All prompts on one object; `other` lends its image to the shuffle test."""
    box = interaction.tight_box(case.mask)
    yield Round("ellipse", overlap(ellipse(box, case.mask.shape), case.mask), 0.0, ())
    image = torch.from_numpy(case.image).expand(3, -1, -1)
    lent = torch.from_numpy(other.image)[None].expand(1, 3, -1, -1)
    lent = torch.nn.functional.interpolate(lent, size=case.mask.shape, mode="bilinear")[0]
    elsewhere = Dialogue(scout.network, lent, scout.config.manner)
    yield answer(scout, elsewhere, elsewhere.boxed(box, NOTHING), case, "shuffled")
    dialogue = Dialogue(scout.network, image, scout.config.manner)
    yield from corrected(scout, dialogue, case, box)
    yield from corrected(scout, dialogue, case, None)


def corrected(scout: Scout, dialogue: Dialogue, case: Case, box: Float[np.ndarray, "2 2"] | None) -> Iterator[Round]:
    """A box or a click, then clicks in the middle of the largest error, as `Scout.draw` replays them."""
    clicks = NOTHING if box is not None else clicked(interaction.first_click(case.mask))
    drawn = dialogue.boxed(box, clicks) if box is not None else dialogue.unboxed(clicks)
    stem, start = ("box", 0) if box is not None else ("click", 1)
    yield answer(scout, dialogue, drawn, case, stem)
    for count in range(start + 1, 6):
        guess = dialogue.canvas(drawn)
        click = interaction.correction_click(case.mask, guess.numpy() > 0.5)
        if click is not None:
            clicks = clicks.then(clicked(click))
            drawn = dialogue.boxed(box, clicks, guess) if box is not None else dialogue.continued(guess, clicks)
        yield answer(scout, dialogue, drawn, case, f"box+{count}" if box is not None else f"{count} clicks")


def clicked(click: interaction.Click) -> Clicks:
    return Clicks(np.array([click.at]), np.array([click.inside]))


def answer(scout: Scout, dialogue: Dialogue, drawn: Drawn, case: Case, prompt: str) -> Round:
    guess = dialogue.canvas(drawn).numpy() > 0.5
    boxed = prompt.startswith(("box", "shuffled"))
    features = tuple(round(float(value), 4) for value in drawn.features)
    return Round(prompt, overlap(guess, case.mask), scout.confidence(drawn, boxed=boxed), features)


def interval(values: Float[np.ndarray, " n"], rng: np.random.Generator) -> tuple[float, float]:
    """95 % bootstrap interval of the mean."""
    means = rng.choice(values, (1000, len(values))).mean(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def table(rounds: dict[str, list[list[Round]]]) -> list[str]:
    """Lines of a Markdown table: mean Dice and its interval, one row per source."""
    rng = np.random.default_rng(0)
    lines = ["| source | n | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 2) + "|"]
    for source, found in rounds.items():
        cells = []
        for column in COLUMNS:
            values = np.array([one.dice for case in found for one in case if one.prompt == column])
            low, high = interval(values, rng)
            cells.append(f"{values.mean():.3f} [{low:.2f} {high:.2f}]")
        lines.append(f"| {source} | {len(found)} | " + " | ".join(cells) + " |")
    return lines


def group(rounds: dict[str, list[list[Round]]], name: str, sources: tuple[str, ...]) -> str:
    """The row of a table that has the mean over sources, each counted once."""
    there = [rounds[source] for source in sources if source in rounds]
    cells = [np.mean([mean(found, column) for found in there]) for column in COLUMNS]
    return f"| **{name}** | {len(there)} sources | " + " | ".join(f"{cell:.3f}" for cell in cells) + " |"


def mean(found: list[list[Round]], prompt: str) -> float:
    """Mean Dice after a prompt."""
    return float(np.mean([one.dice for case in found for one in case if one.prompt == prompt]))


def confidence(rounds: dict[str, list[list[Round]]]) -> list[str]:
    """Per source: expected calibration error in ten bins and Spearman's correlation of confidence with Dice."""
    from scipy.stats import spearmanr

    lines = ["| source | mean Dice | mean confidence | calibration error | rank correlation |", "|---|---|---|---|---|"]
    for source, found in rounds.items():
        pairs = np.array(
            [(one.confidence, one.dice) for case in found for one in case if one.prompt not in ("ellipse", "shuffled")]
        )
        bins = np.minimum((pairs[:, 0] * 10).astype(int), 9)
        error = sum(
            abs(pairs[bins == number].mean(0) @ [1, -1]) * (bins == number).mean() for number in np.unique(bins)
        )
        rank = spearmanr(pairs[:, 0], pairs[:, 1]).statistic
        lines.append(f"| {source} | {pairs[:, 1].mean():.3f} | {pairs[:, 0].mean():.3f} | {error:.3f} | {rank:.2f} |")
    return lines


def summary(rounds: dict[str, list[list[Round]]], unseen: tuple[str, ...]) -> list[str]:
    """One sentence per source, for the card."""

    lines = []
    for source, found in rounds.items():
        kind = "never seen" if source in unseen else "known kind, held-back images"
        box, floor, blind, later, click, clicks = (
            f"{mean(found, prompt):.2f}" for prompt in ("box", "ellipse", "shuffled", "box+3", "click", "5 clicks")
        )
        lines.append(
            f"Dice on {source} ({kind}, {len(found)} objects): box {box} (ellipse {floor}, shuffled image {blind}), "
            f"box + 3 clicks {later}, one click {click}, five clicks {clicks}."
        )
    return lines


def fitted(rounds: list[Round]) -> Float[Tensor, " f"]:
    """Weights of a logistic curve through (features, Dice): Newton's method on the cross-entropy, slightly damped."""
    x = torch.tensor([one.features for one in rounds], dtype=torch.float64)
    y = torch.tensor([one.dice for one in rounds], dtype=torch.float64)
    weights = torch.zeros(x.shape[1], dtype=torch.float64)
    for _ in range(30):
        p = torch.sigmoid(x @ weights)
        slope = x.T @ (p - y) + 0.5 * weights
        curve = (x * (p * (1 - p))[:, None]).T @ x + 0.5 * torch.eye(x.shape[1], dtype=torch.float64)
        weights = weights - torch.linalg.solve(curve, slope)
    return weights.float()


def load(path: Path, scout: Scout) -> dict[str, list[list[Round]]]:
    """Answers that were kept, with the confidence that these weights give them."""

    def one(prompt: str, dice: float, features: list[float]) -> Round:
        row = scout.network.calibration[int(prompt.startswith(("box", "shuffled")))]
        sure = float(torch.sigmoid(row @ torch.tensor(features))) if features else 0.0
        return Round(prompt, dice, sure, tuple(features))

    kept = json.loads(path.read_text())
    return {source: [[one(*entry) for entry in case] for case in cases] for source, cases in kept.items()}


def save(path: Path, rounds: dict[str, list[list[Round]]]) -> None:
    """Every answer as JSON, so that tables can be made again."""
    content = {
        source: [[[one.prompt, round(one.dice, 4), one.features] for one in case] for case in found]
        for source, found in rounds.items()
    }
    path.write_text(json.dumps(content))
