"""`hilum bench faithfulness`: maps of the true labels beside a random map and a Gaussian; a page, a figure, records."""

import json

import numpy as np
import pytest
from PIL import Image as Pillow


@pytest.fixture
def spots(tmp_path):
    """A table of 12 pictures of 12 patients with a bright spot off the middle, and one that is no picture."""
    rng, lines = np.random.default_rng(0), ["file,bright,dark,patient"]
    down, across = np.ogrid[:24, :24]
    for number in range(12):
        y, x = (rng.choice([4, 19]) for _ in range(2))
        light = np.where((down - y) ** 2 + (across - x) ** 2 < 12, 230, 30).astype(np.uint8)
        Pillow.fromarray(light).save(tmp_path / f"{number}.png")
        lines.append(f"{number}.png,1,0,{number}")
    (tmp_path / "broken.png").write_bytes(b"nothing")
    (tmp_path / "spots.csv").write_text("\n".join([*lines, "broken.png,1,,x"]) + "\n")
    return tmp_path / "spots.csv"


def test_a_map_that_is_true_beats_both_rivals_and_is_written_down(hilum, shade, spots, tmp_path):
    out = tmp_path / "out"
    words = ("bench", "faithfulness", "shade", "--data", spots, "--labels", "bright, dark", "-o", out)
    ended = hilum(*words)
    assert ended.code == 1
    assert "1 of 13 images failed" in ended.err
    text = (out / "table.md").read_text()
    assert text.strip() == ended.out.strip()
    assert "shade.none, weights sha256 abab" in text
    assert "12 images of 12 patients" in text
    assert "Map: how far the label's similarity falls" in text
    assert "The explanation beats the random map and the centred Gaussian" in text
    assert "Rank correlation with the maps by random weights: 1.000" in text  # this system has no weights
    with Pillow.open(out / "curves.png") as figure:
        assert figure.width > 1000
    records = [json.loads(line) for line in (out / "records.jsonl").read_text().splitlines()]
    assert len(records) == 12
    assert {each["label"] for each in records} == {"bright"}
    assert records[0]["texts"] == ["a bright picture"]
    own = records[0]["maps"]["explanation"]
    assert len(own["deletion_curve"]) == 17
    assert own["deletion_curve"][0] == pytest.approx(own["insertion_curve"][-1])
    again = hilum(*words)
    assert again.code == 2
    assert "table.md exists" in again.err


def test_few_cases_give_no_verdict_and_json_says_the_same(hilum, shade, spots, tmp_path):
    words = ("--data", spots, "--labels", "bright", "-o", tmp_path / "few", "--most", 3, "--json")
    told = json.loads(hilum("bench", "faithfulness", "shade", *words).out)
    assert told["cases"] == 3
    assert "3 patients are too few" in told["verdict"]
    value, low, high = told["gains"]["random"]["deletion"]
    assert low <= value <= high


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("scout", "--labels", "bright"), "got Labels. Systems that take labels: "),
        (("shade", "--labels", "dark"), "none of dark is true of any image"),
    ],
)
def test_what_cannot_be_judged_is_a_sentence(hilum, shade, spots, tmp_path, words, sentence):
    ended = hilum("bench", "faithfulness", *words, "--data", spots, "-o", tmp_path / "none")
    assert ended.code == 2
    assert sentence in ended.err
    assert not (tmp_path / "none").exists()
