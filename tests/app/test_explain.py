"""`hilum ask --explain`: a sheet or maps beside the answer, a summary in the report, and what is refused early."""

import json

import numpy as np
import pytest
from PIL import Image as Pillow

from hilum import registry
from hilum.app import explaining
from hilum.values.errors import BadInput

BOX = ("--box", "8,6:32,30")
LABELS = ("--labels", "bright, dark")


def test_labels_get_a_sheet_and_a_summary(hilum, shade, disc, tmp_path):
    ended = hilum("ask", "shade", disc, *LABELS, "--explain", tmp_path / "why.png")
    assert ended.code == 0, ended.err
    assert "peak" in ended.out
    assert ended.out.rstrip().endswith("why.png")
    with Pillow.open(tmp_path / "why.png") as sheet:
        assert sheet.width > 900


def test_the_report_says_method_peak_and_share(hilum, shade, disc, tmp_path):
    ended = hilum("ask", "shade", disc, *LABELS, "--explain", tmp_path / "why.npz", "--json")
    found = json.loads(ended.out)
    bright, dark = found["explanation"]["maps"]
    assert "blurred" in found["explanation"]["method"]
    assert np.hypot(bright["peak"][0] - 20, bright["peak"][1] - 18) < 9
    assert 0.1 < bright["share_in_top_tenth"] <= 1
    assert dark["name"] == "dark"
    assert found["labels"][0]["name"] == "bright"
    assert found["written"] == [str(tmp_path / "why.npz")]
    with np.load(tmp_path / "why.npz") as held:
        assert held["maps"].shape == (2, 40, 60)
        assert held["maps"].dtype == np.float32
        assert list(held["names"]) == ["bright", "dark"]


def test_a_mask_is_explained_by_its_prompts(hilum, threshold, disc, tmp_path):
    ended = hilum("ask", "threshold", disc, *BOX, "--explain", tmp_path / "why.png")
    assert ended.code == 0, ended.err
    assert "moved up x by a tenth" in ended.out
    assert (tmp_path / "why.png").is_file()
    report = json.loads(hilum("ask", "threshold", disc, *BOX, "--explain", tmp_path / "b.png", "--json").out)
    assert {each["object"] for each in report["explanation"]["prompts"]} == {"object"}
    assert all(0 <= each["dice"] <= 1 for each in report["explanation"]["prompts"])


def test_several_images_have_a_sheet_each(hilum, threshold, disc, tmp_path):
    disc.with_name("two.png").write_bytes(disc.read_bytes())
    (tmp_path / "out").mkdir()
    ended = hilum("ask", "threshold", disc, disc.with_name("two.png"), *BOX, "--explain", tmp_path / "out")
    assert ended.code == 0, ended.err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["disc_explained.png", "two_explained.png"]


def test_what_cannot_be_written_is_refused_before_the_look(hilum, shade, disc, tmp_path):
    ended = hilum("ask", "shade", disc, *LABELS, "--explain", tmp_path / "why.docx")
    assert ended.code == 2
    assert "an explanation is written as .png, .npz, .json" in ended.err


def test_a_system_without_scores_or_masks_is_refused():
    with pytest.raises(BadInput, match="gives embedding"):
        explaining.refuse(registry.find("retfound").tiny())
