"""The frequency bench on systems whose eyes are known."""

import numpy as np
import pytest
from capabilities.threshold import Threshold
from PIL import Image

from hilum.bench import frequency
from hilum.train import pairs


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    y, x = np.ogrid[:64, :80]
    for kind in ("images", "labels"):
        (tmp_path / kind).mkdir()
    for case in range(2):
        mask = (x - 40) ** 2 + (y - 30 - case) ** 2 < 14**2
        grey = (30 + mask * 180 + rng.integers(0, 20, mask.shape)).astype(np.uint8)
        Image.fromarray(grey).save(tmp_path / "images" / f"{case}.png")
        Image.fromarray(mask.astype(np.uint8)).save(tmp_path / "labels" / f"{case}.png")
    return tmp_path


def test_a_large_bright_disc_is_lost_with_the_low_bands_not_with_the_high(folder, tmp_path):
    """A threshold needs the disc's brightness, which is low frequencies; the highest band holds noise alone."""
    records = list(frequency.measure(Threshold.tiny(), pairs.pairs(folder)))
    assert len(records) == 2 * len(frequency.BANDS)
    lost = {each.low: each.whole_dice - each.dice for each in records}
    assert lost[0.35] < 0.02
    assert max(lost[0.0], lost[0.02]) > 0.05
    drift = {each.low: each.drift for each in records}
    assert drift[0.35] < drift[0.02]
    assert all(0 <= each.variance <= 1 for each in records)
    out = frequency.draw({"threshold": records}, tmp_path / "curve.png")
    with Image.open(out) as curve:
        assert curve.size[0] > 800
    frequency.write_csv(records, tmp_path / "r.csv")
    assert len((tmp_path / "r.csv").read_text().splitlines()) == 1 + len(records)
    assert frequency.markdown(records).count("\n") == 1 + len(frequency.BANDS)
