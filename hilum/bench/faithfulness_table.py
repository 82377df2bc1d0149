"""What the maps of a matcher are worth as a page, a figure and records: areas, gains over both rivals, mean curves."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from ..io.atomic import replacing
from ..values.errors import MissingExtra
from .faithfulness import OWN, RIVALS, Estimate, Faithfulness
from .resample import interval, redrawn

WAYS = ("deletion", "insertion")
CALLED = {OWN: "explanation", "random": "random map", "centred": "centred Gaussian"}
FEW = 10  # patients below which intervals say too little
FIGURE = "curves.png"
AXES = {
    "deletion": ("share of pixels blurred away", "similarity less the whole picture's"),
    "insertion": ("share of pixels brought back", "similarity less the blurred picture's"),
}
NOTE = (
    "The raw similarity of the true label, its mean while pixels are blurred away or brought back in the map's order "
    "(Petsiuk et al. 2018); 95 % intervals draw whole patients, and gains are taken pair by pair."
)


def markdown(head: Sequence[str], found: Faithfulness) -> str:
    """Facts, the areas of each map, by how much the explanation is better, and what is made of that."""
    methods = dict.fromkeys(each.method for each in found.judged)
    lines = [*head, *(f"Map: {method}." for method in methods), ""]
    lines += ["| map | deletion (lower is better) | insertion (higher is better) |", "|---|---|---|"]
    lines += [f"| {CALLED[name]} | {_cells(found.mean(name, way) for way in WAYS)} |" for name in CALLED]
    lines += ["", "| the explanation is better than | by deletion | by insertion |", "|---|---|---|"]
    lines += [f"| {CALLED[rival]} | {_cells(found.gain(rival, way) for way in WAYS)} |" for rival in RIVALS]
    return "\n".join([*lines, "", verdict(found), *_random_weights(found), "", NOTE])


def verdict(found: Faithfulness) -> str:
    """Whether the explanation is above both rivals beyond its intervals, in a sentence."""
    count = len(set(found.patients.tolist()))
    if count < FEW:
        return f"{count} patients are too few to tell whether these maps are true: at least {FEW} are wanted."
    short = [f"{CALLED[rival]} by {way}" for rival in RIVALS for way in WAYS if not found.gain(rival, way)[1] > 0]
    if not short:
        return "The explanation beats the random map and the centred Gaussian, by deletion and by insertion."
    return f"Not shown to be better than the {', the '.join(short)}: do not read these maps as where the system looked."


def _random_weights(found: Faithfulness) -> list[str]:
    told = found.correlation()
    if told is None:
        return []
    words = "{:.3f} [{:.3f}, {:.3f}]".format(*told)
    return [
        f"Rank correlation with the maps by random weights: {words}; near 1 the map does not hang on what was learned."
    ]


def _cells(estimates: Iterable[Estimate]) -> str:
    return " | ".join("{:.4f} [{:.4f}, {:.4f}]".format(*each) for each in estimates)


def facts(found: Faithfulness) -> dict[str, Any]:
    """The same as plain types."""
    correlation = found.correlation()
    return {
        "cases": len(found.judged),
        "patients": len(set(found.patients.tolist())),
        "areas": {name: {way: found.mean(name, way) for way in WAYS} for name in CALLED},
        "gains": {rival: {way: found.gain(rival, way) for way in WAYS} for rival in RIVALS},
        "verdict": verdict(found),
        "correlation_with_random_weights": correlation,
    }


def write_records(found: Faithfulness, path: Path) -> None:
    """A line of JSON for each case: the label, the texts that were compared, areas and curves of every map."""
    lines = []
    for each in found.judged:
        maps = {
            name: {
                "deletion": curves.areas.deletion,
                "insertion": curves.areas.insertion,
                "deletion_curve": curves.deletion.round(6).tolist(),
                "insertion_curve": curves.insertion.round(6).tolist(),
            }
            for name, curves in each.curves.items()
        }
        told = {"file": each.name, "patient": each.patient, "label": each.label, "texts": list(each.texts)}
        alike = each.correlation if np.isfinite(each.correlation) else None
        lines.append(json.dumps({**told, "maps": maps, "correlation_with_random_weights": alike}, ensure_ascii=False))
    with replacing(path, force=True) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def band(found: Faithfulness, name: str, way: str, draws: int = 1000) -> Float[np.ndarray, "3 steps"]:
    """The mean curve less its first value, and its 95 % interval by whole patients."""
    curves = np.stack([getattr(each.curves[name], way) for each in found.judged])
    curves = curves - curves[:, :1]
    drawn = np.array([curves[rows].mean(axis=0) for rows in redrawn(found.patients, draws=draws)])
    return np.stack([curves.mean(axis=0), *interval(drawn)])


def draw(found: Faithfulness, path: Path, *, title: str) -> Path:
    """Both ways, a line with its band for each map."""
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot as plt
    except ImportError as error:
        raise MissingExtra("the figure of the curves", "matplotlib", "bench") from error
    figure, axes = plt.subplots(1, len(WAYS), figsize=(5.2 * len(WAYS), 4.2), squeeze=False)
    for axis, way in zip(axes[0], WAYS, strict=True):
        for colour, (name, called) in zip(("C3", "0.45", "C0"), CALLED.items(), strict=True):
            mean, low, high = band(found, name, way)
            share = np.linspace(0, 1, len(mean))
            axis.plot(share, mean, color=colour, label=called)
            axis.fill_between(share, low, high, color=colour, alpha=0.15, lw=0)
        across, up = AXES[way]
        axis.set(title=way, xlabel=across, ylabel=up)
        axis.grid(alpha=0.25)
    axes[0][0].legend(fontsize=8)
    figure.suptitle(title, fontsize=11)
    figure.tight_layout()
    with replacing(path, force=True) as temporary:
        figure.savefig(temporary, dpi=130, format="png")
    plt.close(figure)
    return path
