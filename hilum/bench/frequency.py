"""`hilum bench frequency`: what a system loses as bands of the image are taken away.

For every band: how far the system's features move (1 - cosine with those of the whole image), and, where the folder
has label maps and the system segments, the Dice that is left. Beside them the share of the images' variance that the
band holds: a system that looks at a band should move more than that share explains.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..capabilities.embed import embed
from ..capabilities.system import System
from ..capabilities.trainable import Sample
from ..io.atomic import replacing
from ..parts.frequency import radial_spectrum, without_band
from ..train.pairs import Pair
from ..train.samples import masks_of
from ..train.score import scored
from ..values import progress
from ..values.errors import MissingExtra
from ..values.image import Display, Image

BANDS = ((0.0, 0.02), (0.02, 0.05), (0.05, 0.1), (0.1, 0.2), (0.2, 0.35), (0.35, 0.71))  # cycles per pixel


@dataclass(frozen=True, slots=True)
class Record:
    """One image without one band; `dice` is NaN where nothing is labelled or the system does not segment."""

    case: str
    low: float
    high: float
    variance: float
    drift: float
    dice: float
    whole_dice: float


def measure(system: System, pairs: Sequence[Pair], *, bands: Sequence[tuple[float, float]] = BANDS) -> Iterator[Record]:
    """Every image (its middle plane, as it is shown in 8 bit) with each of the bands taken away in turn."""
    for pair in progress.track(pairs, "cases"):
        yield from _case(system, pair, bands)


def _case(system: System, pair: Pair, bands: Sequence[tuple[float, float]]) -> Iterator[Record]:
    image, masks = _plane(pair)
    whole = features(system, image)
    labelled = "segment" in system.card.capabilities and masks.any()
    dice = _dice(system, image, masks) if labelled else np.nan
    middles, share = radial_spectrum(image.array.astype(np.float64).mean(axis=0))
    for low, high in bands:
        without = _without(image, low, high)
        drift = 1 - _cosine(whole, features(system, without))
        left = _dice(system, without, masks) if labelled else np.nan
        inside = float(share[(middles >= low) & (middles < high)].sum())
        yield Record(f"{pair.source}/{pair.case}", low, high, inside, drift, left, dice)


def _plane(pair: Pair) -> tuple[Image, np.ndarray]:
    image = pair.image()
    labels, section = pair.labels(image), image.section()
    planes = section.planes(labels.reshape(image.volume().shape[1:]))
    number = int((planes > 0).sum((1, 2)).argmax())
    plane = image.plane(section, number)
    shown = np.rint(plane.display(plane.array) * 255).astype(np.uint8)
    return plane.with_array(shown, Display(0.0, 255.0)), masks_of(planes[number], ())


def _without(image: Image, low: float, high: float) -> Image:
    """The mean stays, also when the lowest band goes."""
    values = image.array.astype(np.float64)
    mean = values.mean(axis=(-2, -1), keepdims=True)
    filtered = without_band(values - mean, low if low > 0 else -1.0, high) + mean
    return replace(image, array=np.clip(np.rint(filtered), 0, 255).astype(np.uint8))


def features(system: System, image: Image) -> np.ndarray:
    """What the system's encoder made of a picture: its vector, or all the tensors that it remembers, in a row."""
    look = system.look(image)
    if "embed" in system.card.capabilities:
        return np.asarray(embed(look, ()).vectors, dtype=np.float64).ravel()
    seen = look.seen(look.prepared().section(), 0)
    parts = [each.float().cpu().numpy().ravel() for name, each in sorted(seen.items()) if each.numel() > 1]
    return np.concatenate(parts).astype(np.float64)


def _cosine(first: np.ndarray, second: np.ndarray) -> float:
    return float(first @ second / max(np.linalg.norm(first) * np.linalg.norm(second), 1e-12))


def _dice(system: System, image: Image, masks: np.ndarray) -> float:
    return scored(system, [Sample(image, masks)])[0]


def table(records: Sequence[Record]) -> list[tuple[str, ...]]:
    """A row per band, means over cases: share of variance, drift, Dice left, Dice of the whole image."""
    rows = []
    for low, high in sorted({(each.low, each.high) for each in records}):
        here = [each for each in records if (each.low, each.high) == (low, high)]
        means = [
            np.mean([getattr(each, name) for each in here]) for name in ("variance", "drift", "dice", "whole_dice")
        ]
        numbers = ["" if np.isnan(value) else f"{value:.3f}" for value in means]
        rows.append((f"{low:g} to {high:g}", *numbers, str(len(here))))
    return rows


HEAD = ("band taken away, cycles/pixel", "share of variance", "drift of features", "Dice", "Dice of the whole", "cases")


def markdown(records: Sequence[Record]) -> str:
    """The table for a page."""
    lines = [HEAD, tuple("---" for _ in HEAD), *table(records)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write_csv(records: Sequence[Record], path: Path, *, force: bool = False) -> None:
    """A line per case and band."""
    names = Record.__slots__
    with replacing(path, force=force) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(names)
        writer.writerows([getattr(each, name) for name in names] for each in records)


def draw(curves: dict[str, Sequence[Record]], path: Path, *, force: bool = False) -> Path:
    """Drift (left) and the Dice that is lost (right) over bands, a line for each system."""
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot as plt
    except ImportError as error:
        raise MissingExtra("the curve", "matplotlib", "bench") from error
    figure, axes = plt.subplots(1, 2, figsize=(9.6, 3.8))
    for name, records in curves.items():
        bands = sorted({(each.low, each.high) for each in records})
        here = [[each for each in records if (each.low, each.high) == band] for band in bands]
        drift = [np.mean([each.drift for each in group]) for group in here]
        lost = [np.mean([each.whole_dice - each.dice for each in group]) for group in here]
        words = [f"{low:g}–{high:g}" for low, high in bands]
        axes[0].plot(words, drift, marker="o", ms=3.5, label=name)
        axes[1].plot(words, lost, marker="o", ms=3.5, label=name)
    for axis, word in zip(axes, ("drift of features (1 − cosine)", "Dice lost"), strict=True):
        axis.set_ylabel(word)
        axis.set_xlabel("band taken away, cycles per pixel")
        axis.tick_params(axis="x", labelsize=7)
        axis.grid(alpha=0.25)
    axes[0].legend(fontsize=8)
    figure.tight_layout()
    with replacing(path, force=force) as temporary:
        figure.savefig(temporary, dpi=130, format="png")
    plt.close(figure)
    return path
