"""The curve of Dice over clicks, a line a source, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..io.atomic import replacing
from ..values.errors import MissingExtra
from .segment import Record


def draw(records: Sequence[Record], path: Path, *, title: str, force: bool = False) -> Path:
    """Mean Dice after each click, from a box (left) and from nothing (right); dashed: the ellipse in the box."""
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot as plt
    except ImportError as error:
        raise MissingExtra("the curve", "matplotlib", "bench") from error
    series = [name for name in ("box", "clicks") if any(record.series == name for record in records)]
    figure, axes = plt.subplots(1, len(series), figsize=(5.2 * len(series), 4.2), sharey=True, squeeze=False)
    sources = sorted({record.source for record in records})
    colours = plt.get_cmap("tab10")
    for axis, name in zip(axes[0], series, strict=True):
        for number, source in enumerate(sources):
            chosen = [record for record in records if record.source == source and record.series == name]
            if not chosen:
                continue
            means = np.mean([record.dice for record in chosen], axis=0)
            steps = np.arange(len(means)) + (name == "clicks")
            axis.plot(steps, means, marker="o", ms=3.5, color=colours(number % 10), label=source)
            floors = [record.extra["ellipse"] for record in chosen if "ellipse" in record.extra]
            if floors:
                axis.axhline(float(np.mean(floors)), color=colours(number % 10), lw=0.8, ls="--")
        axis.set_xlabel("clicks after the box" if name == "box" else "clicks")
        axis.set_ylim(0.0, 1.0)
        axis.grid(alpha=0.25)
    axes[0][0].set_ylabel("Dice")
    axes[0][-1].legend(fontsize=8, loc="lower right")
    figure.suptitle(title, fontsize=11)
    figure.tight_layout()
    with replacing(path, force=force) as temporary:
        figure.savefig(temporary, dpi=130, format="png")
    plt.close(figure)
    return path
