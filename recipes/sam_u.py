"""What twenty boxes tell beyond one: SAM-U over systems that are here, on real pictures with their masks.

python recipes/sam_u.py --over scout sam_study.pocket --most 20     # reads $HILUM_DATA, default ../shared/data

A box as a person draws it (each side off by a normal share of its size, 5 % by default) is answered alone and by
SAM-U. Within the box and a quarter of its size around it: the calibration error of both probabilities, and the chance
that a wrong pixel is less sure than a right one, by SAM-U's entropy and by two rivals that cost nothing: the same
twenty boxes answered by the ellipse in each, which looks at no image, and the distance to the mask's own contour.
Differences are paired, with 95 % intervals over objects. The table goes between the marks of docs/uncertainty.md.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scout_cases
import scout_data
import torch
from scipy import ndimage
from scout import between

import hilum
from hilum.bench.calibration import calibration_error, rank_area
from hilum.bench.measure import ellipse, interval
from hilum.capabilities.segment import Planar
from hilum.parts.interaction import jittered_box
from hilum.systems.sam_u import Manner, SamU, Spread, binary_entropy
from hilum.train.score import dice
from hilum.values.image import Image, from_array
from hilum.values.prompts import PlanePrompt

ROOT = Path(__file__).resolve().parents[1]
PAGE, MARKS = ROOT / "docs/uncertainty.md", ("<!-- measured -->", "<!-- end -->")
SOURCES = ("ultrasound", "cxr", "hippocampus", "nuclei", "organs", "tumour")
HEAD = (
    "| target | objects | Dice, one box | Dice, mean of 20 | area under ROC: SAM-U | ellipses | contour | one box's "
    "own entropy | SAM-U less ellipses | SAM-U less contour | calibration error, one box | of the mean | difference |"
)


@dataclass(frozen=True, slots=True)
class Numbers:
    """Of one object; areas are nan where no pixel of the window is wrong."""

    single: float
    mean: float
    sam_u: float
    ellipses: float
    contour: float
    own: float
    error_single: float
    error_mean: float


def measured(system: SamU, case: scout_cases.Case, rng: np.random.Generator, off: float) -> Numbers:
    """The numbers of one object."""
    image = picture(case)
    seen = system.see(system.prepare(image))
    box = jittered_box(case.mask, rng, amount=off)
    alone = one(system.asked, seen, box)
    spread = Spread(np.stack([answer.probability for answer in system.answers(seen, box)]))
    blind = Spread(np.stack([ellipse(*each, image.grid) for each in system.manner.around(box, image.grid)]) * 1.0)
    where, mask = window(box, image.grid), spread.mean > 0.5
    truth, wrong = case.mask[where], mask[where] != case.mask[where]
    return Numbers(
        dice(case.mask, alone > 0.5),
        dice(case.mask, mask),
        rank_area(spread.entropy("mean")[where], wrong),
        rank_area(binary_entropy(blind.mean)[where], wrong),
        rank_area(-from_contour(mask)[where], wrong),
        rank_area(binary_entropy(alone)[where], (alone[where] > 0.5) != truth),
        calibration_error(alone[where], truth),
        calibration_error(spread.mean[where], truth),
    )


def one(asked: Planar, seen: dict, box: np.ndarray) -> np.ndarray:
    """The answer to the box as it was drawn."""
    return asked.draw(seen, PlanePrompt(box=box)).probability


def from_contour(mask: np.ndarray) -> np.ndarray:
    """Pixels to the mask's contour, from either side; an empty or full mask has none, and all pixels are alike."""
    if mask.all() or not mask.any():
        return np.zeros(mask.shape)
    return ndimage.distance_transform_edt(mask) + ndimage.distance_transform_edt(~mask)


def picture(case: scout_cases.Case) -> Image:
    """The case in 8 bit."""
    return from_array(np.rint(case.image * 255).astype(np.uint8))


def window(box: np.ndarray, size: tuple[int, ...]) -> tuple[slice, slice]:
    """The box and an eighth of its size on each side, within the picture."""
    around = 0.125 * (box[1] - box[0] + 1)
    low, high = np.floor(box[0] - around), np.ceil(box[1] + around)
    low, high = np.maximum(low, 0).astype(int), np.minimum(high, np.array(size[::-1]) - 1).astype(int)
    return slice(low[1], high[1] + 1), slice(low[0], high[0] + 1)


def line(source: str, found: list[Numbers]) -> str:
    """A row of the table."""
    column = {name: np.array([getattr(each, name) for each in found]) for name in Numbers.__slots__}
    means = {name: np.nanmean(values) for name, values in column.items()}
    numbers = [f"{means[name]:.3f}" for name in ("single", "mean", "sam_u", "ellipses", "contour", "own")]
    numbers += [difference(column["sam_u"] - column[rival]) for rival in ("ellipses", "contour")]
    numbers += [f"{means[name]:.3f}" for name in ("error_single", "error_mean")]
    numbers.append(difference(column["error_mean"] - column["error_single"]))
    return f"| {source} | {len(found)} | {' | '.join(numbers)} |"


def difference(values: np.ndarray) -> str:
    """Its mean and 95 % interval over objects for which it is known."""
    known = values[np.isfinite(values)]
    low, high = interval(known, np.arange(len(known)))
    return f"{known.mean():+.3f} [{low:+.3f}, {high:+.3f}]"


def asked(over: str, given: argparse.Namespace) -> list[str]:
    """The table of one system."""
    loaded = hilum.load("sam_u", backend="torch", over=None if over == "sam_u" else over)
    assert isinstance(loaded, SamU)
    system = loaded.asking(Manner(reach=given.reach))
    lines = [f"\n**over {over}**\n", HEAD, "|---" * HEAD.count(" |") + "|"]
    for source in given.sources:
        rng = np.random.default_rng(0)
        cases = scout_cases.cases(scout_data.data_root(), source, most=given.most)
        lines.append(line(source, [measured(system, case, rng, given.off) for case in cases]))
        print(lines[-1], flush=True)
    return lines


def main() -> None:
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--over", nargs="+", default=["scout"], help="systems that are asked, or sam_u for SAM itself")
    parser.add_argument("--sources", nargs="+", default=SOURCES)
    parser.add_argument("--most", type=int, default=40, help="objects of each source")
    parser.add_argument("--off", type=float, default=0.05, help="by how much a drawn box is off")
    parser.add_argument("--reach", type=float, default=Manner().reach)
    parser.add_argument("--page", action="store_true", help="write docs/uncertainty.md")
    given = parser.parse_args()
    lines = [each for over in given.over for each in asked(over, given)]
    if given.page:
        between(PAGE, MARKS, lines)


if __name__ == "__main__":
    main()
