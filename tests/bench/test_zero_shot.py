"""The zero-shot study on systems whose answers are known."""

import csv
import json
from dataclasses import replace

import nibabel
import numpy as np
import pytest
from capabilities.threshold import Threshold
from PIL import Image

from hilum.bench import zero_shot
from hilum.bench.zero_shot import ORACLE, Plan
from hilum.systems.scout import Scout
from hilum.train import pairs
from hilum.values.answers import PlaneMask
from hilum.values.errors import BadInput


class Proposing(Threshold):
    """Proposes its left half, everything bright, and nothing, whatever is there."""

    card = replace(Threshold.card, default="segment")

    def everything(self, seen):
        bright = seen["bright"].numpy()
        left = bright & (np.arange(bright.shape[1]) < bright.shape[1] // 2)
        return [PlaneMask(mask.astype(np.float32), 0.5) for mask in (left, bright, bright & False)]


def bright_disc(height, width, cx, cy, radius):
    y, x = np.ogrid[:height, :width]
    return (x - cx) ** 2 + 2 * (y - cy) ** 2 < radius**2


@pytest.fixture
def folder(tmp_path):
    """Pictures with one object of label 7 each; volumes whose object has label 3, in Hounsfield units."""
    rng = np.random.default_rng(0)
    for source in ("discs", "balls"):
        for kind in ("images", "labels"):
            (tmp_path / source / kind).mkdir(parents=True)
    for case in range(3):
        mask = bright_disc(64, 80, 30 + 6 * case, 30, 14)
        grey = (mask * 180 + rng.integers(0, 40, mask.shape)).astype(np.uint8)
        Image.fromarray(grey).save(tmp_path / "discs" / "images" / f"{case}.png")
        Image.fromarray(mask.astype(np.uint16) * 7).save(tmp_path / "discs" / "labels" / f"{case}.png")
    for case in range(2):
        z, y, x = np.ogrid[:12, :32, :40]
        ball = (x - 20) ** 2 + (y - 15 - case) ** 2 + 4 * (z - 6) ** 2 < 100
        values = (ball * 900.0 - 500 + rng.normal(0, 20, ball.shape)).astype(np.float32)
        for kind, array in (("images", values), ("labels", ball.astype(np.uint8) * 3)):
            volume = nibabel.Nifti1Image(np.swapaxes(array, 0, 2), np.diag([1.0, 1.0, 2.5, 1.0]))
            nibabel.save(volume, tmp_path / "balls" / kind / f"{case}.nii.gz")
    return tmp_path


def test_prompts_find_what_is_bright_and_the_oracle_takes_the_best_proposal(folder):
    found = pairs.pairs(folder)
    records = list(zero_shot.measure(Proposing.tiny(), found, Plan(planes=3)))
    assert {record.mode for record in records} == {ORACLE, "box", "1 point", "5 points"}
    assert len(records) == 4 * (3 + 2 * 3)
    assert min(record.dice for record in records) > 0.98
    assert {record.masks for record in records if record.mode == ORACLE} == {3}
    assert min(record.ellipse for record in records) > 0.85
    volumes = {record.plane for record in records if record.source == "balls"}
    assert len(volumes) == 3


def test_the_oracle_is_no_better_than_what_was_proposed(folder):
    """Where only the wrong half is proposed, the oracle cannot do better than a half."""

    class Halves(Proposing):
        def everything(self, seen):
            return super().everything(seen)[:1]

    records = list(zero_shot.measure(Halves.tiny(), pairs.pairs(folder / "discs"), Plan(points=())))
    oracle = [record.dice for record in records if record.mode == ORACLE]
    assert max(oracle) < 0.99
    assert min(record.dice for record in records if record.mode == "box") > 0.99


def test_the_table_has_a_line_for_each_target_and_says_what_the_oracle_is(folder, tmp_path):
    records = list(zero_shot.measure(Proposing.tiny(), pairs.pairs(folder), Plan()))
    lines = zero_shot.table(records, "label")
    assert [line.source for line in lines[:-1]] == ["balls: 3", "discs: 7"]
    assert [line.objects for line in lines[:-1]] == [10, 3]
    text = zero_shot.markdown(zero_shot.table(records), ["a last word"])
    assert "| discs | 3 | 3 |" in text
    assert "mean of targets" in text
    assert "oracle knows the truth" in text
    assert text.endswith("a last word")
    with zero_shot.write_csv(records, tmp_path / "r.csv").open() as file:
        rows = list(csv.DictReader(file))
    said = {row["mode"]: json.loads(row["prompt"] or "{}") for row in rows}
    assert len(said["5 points"]["points"]) == 5
    assert np.shape(said["box"]["box"]) == (2, 2)
    assert said[ORACLE] == {}


def test_a_system_without_everything_mode_says_so():
    plan, said = zero_shot.fitting(Scout.tiny(), Plan())
    assert not plan.everything
    assert plan.box
    assert said == ["everything mode: not there, scout does not have it"]
    with pytest.raises(BadInput, match="none of the modes"):
        zero_shot.fitting(Scout.tiny(), Plan(box=False, points=()))


def test_prompts_that_mean_nothing_are_said():
    assert zero_shot.plan_from("box, points=3") == Plan(everything=False, box=True, points=(3,))
    for text in ("boxes", "points", "points=0", "box=2"):
        with pytest.raises(BadInput, match="--prompts takes"):
            zero_shot.plan_from(text)
