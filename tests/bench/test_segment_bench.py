"""The bench on a segmenter whose answers are known."""

import csv

import numpy as np
import pytest
from capabilities.threshold import Threshold
from PIL import Image

from hilum.bench import curve, segment
from hilum.train import pairs
from hilum.values.errors import BadInput


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    y, x = np.ogrid[:64, :80]
    for source, radius in (("large", 14), ("small", 7)):
        for kind in ("images", "labels"):
            (tmp_path / source / kind).mkdir(parents=True)
        for case in range(3):
            cx, cy = 30 + 6 * case, 30
            mask = (x - cx) ** 2 + 2 * (y - cy) ** 2 < radius**2
            grey = (mask * 180 + rng.integers(0, 40, mask.shape)).astype(np.uint8)
            Image.fromarray(grey).save(tmp_path / source / "images" / f"{case}.png")
            Image.fromarray(mask.astype(np.uint16) * 7).save(tmp_path / source / "labels" / f"{case}.png")
    return tmp_path


def test_a_segmenter_that_sees_scores_one_and_the_shuffled_image_less(folder):
    records = list(segment.measure(Threshold.tiny(), pairs.pairs(folder), segment.Plan(corrections=2, clicks=2)))
    assert len(records) == 12
    for line in segment.table(records)[:-1]:
        assert line.numbers["box"][0] > 0.99
        assert line.numbers["1 click"][0] > 0.99
        assert line.numbers["shuffled"][0] < 0.9
        assert line.numbers["ellipse"][0] > 0.9
        assert line.numbers["box clicks to 90 %"][0] == 0
        assert line.objects == line.images == 3


def test_table_csv_and_curve_are_written(folder, tmp_path):
    records = list(segment.measure(Threshold.tiny(), pairs.pairs(folder), segment.plan_from("box,clicks=3")))
    text = segment.markdown(segment.table(records))
    assert "| large | 3 | 3 |" in text
    assert "mean of sources" in text
    written = segment.write_csv(records, tmp_path / "records.csv")
    with written.open() as file:
        assert len(list(csv.reader(file))) == 1 + 6 * 4 + 6 * 3
    with Image.open(curve.draw(records, tmp_path / "curve.png", title="x")) as picture:
        assert picture.width > 600


def test_a_few_cases_of_each_source_are_drawn_by_the_seed(folder):
    found = pairs.pairs(folder)
    few = pairs.some(found, 2, seed=1)
    assert [pair.source for pair in few] == ["large", "large", "small", "small"]
    assert few == pairs.some(found, 2, seed=1)
    assert pairs.some(found, None, seed=1) == found


def test_prompts_and_folders_that_mean_nothing_are_said(tmp_path):
    with pytest.raises(BadInput, match="--prompts takes box and clicks=N"):
        segment.plan_from("boxes")
    with pytest.raises(BadInput, match="no pairs in"):
        pairs.pairs(tmp_path)
