"""What twenty boxes gain over one, measured: SAM-U over a system that is here, on real pictures with their masks.

python recipes/sam_u.py --over scout --most 20            # reads $HILUM_DATA, default ../shared/data

A box as a person draws it (each side off by a normal share of its size, 5 % by default) is answered alone and by
SAM-U. In a window of three times the box: Dice, calibration error, and the chance that a wrong pixel is less sure than
a right one; of the single answer by its own entropy, of SAM-U's by each reading.
"""

import argparse

import numpy as np
import scout_cases
import scout_data

import hilum
from hilum.bench.calibration import calibration_error, rank_area
from hilum.capabilities.segment import Planar
from hilum.parts.interaction import jittered_box
from hilum.systems.sam_u import Manner, SamU, Spread, binary_entropy
from hilum.train.score import dice
from hilum.values.image import Image, from_array
from hilum.values.prompts import PlanePrompt

HEAD = ("Dice 1", "Dice M", "ECE 1", "ECE M", "area 1", "area M", "votes", "std")


def measured(system: SamU, case: scout_cases.Case, rng: np.random.Generator, off: float) -> list[float]:
    """The numbers of `HEAD` for one object."""
    image = picture(case)
    seen = system.see(system.prepare(image))
    box = jittered_box(case.mask, rng, amount=off)
    single = one(system.asked, seen, box)
    spread = Spread(np.stack([answer.probability for answer in system.answers(seen, box)]))
    where = window(box, image.grid)
    truth = case.mask[where]
    alone, mean = single[where], spread.mean[where]
    wrong, still = (alone > 0.5) != truth, (mean > 0.5) != truth
    return [
        dice(case.mask, single > 0.5),
        dice(case.mask, spread.mean > 0.5),
        calibration_error(alone, truth),
        calibration_error(mean, truth),
        rank_area(binary_entropy(alone), wrong),
        rank_area(spread.entropy("mean")[where], still),
        rank_area(spread.entropy("votes")[where], still),
        rank_area(spread.deviation[where], still),
    ]


def one(asked: Planar, seen: dict, box: np.ndarray) -> np.ndarray:
    """The answer to the box as it was drawn."""
    return asked.draw(seen, PlanePrompt(box=box)).probability


def picture(case: scout_cases.Case) -> Image:
    """The case in 8 bit."""
    return from_array(np.rint(case.image * 255).astype(np.uint8))


def window(box: np.ndarray, size: tuple[int, ...]) -> tuple[slice, slice]:
    """Three times the box, within the picture: outside of it everybody is right."""
    low, high = np.floor(box[0] - (box[1] - box[0])), np.ceil(box[1] + (box[1] - box[0]))
    low, high = np.maximum(low, 0).astype(int), np.minimum(high, np.array(size[::-1]) - 1).astype(int)
    return slice(low[1], high[1] + 1), slice(low[0], high[0] + 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--over", default="scout", help="the system that is asked, or sam_u for SAM itself")
    parser.add_argument("--sources", nargs="+", default=["ultrasound", "cxr", "organs", "nuclei"])
    parser.add_argument("--most", type=int, default=20, help="objects of each source")
    parser.add_argument("--off", type=float, default=0.05, help="by how much a drawn box is off")
    parser.add_argument("--reach", type=float, default=Manner().reach)
    given = parser.parse_args()
    loaded = hilum.load("sam_u", backend="torch", over=None if given.over == "sam_u" else given.over)
    assert isinstance(loaded, SamU)
    system = loaded.asking(Manner(reach=given.reach))
    print(f"{'source':12}{'n':>4}" + "".join(f"{name:>9}" for name in HEAD), flush=True)
    for source in given.sources:
        rng = np.random.default_rng(0)
        cases = scout_cases.cases(scout_data.data_root(), source, most=given.most)
        found = np.array([measured(system, case, rng, given.off) for case in cases])
        means = np.nanmean(found, axis=0)
        print(f"{source:12}{len(found):>4}" + "".join(f"{value:9.3f}" for value in means), flush=True)


if __name__ == "__main__":
    main()
