"""`--over`: a system that asks another one, from the command line to the files."""

import json

import numpy as np
from PIL import Image as Pillow

BOX = ("--box", "8,6:32,30")


def test_how_unsure_the_answer_is_reaches_table_json_preview_and_file(hilum, disc, tmp_path):
    ended = hilum("ask", "sam_u", "--over", "scout", disc, *BOX, "--preview", tmp_path / "p.png")
    assert ended.code == 0, ended.err
    told = hilum("ask", "sam_u", "--over", "scout", disc, *BOX)
    head, row = told.out.splitlines()
    assert "nats inside, at edge" in head
    assert row.startswith("object")
    assert "note: sam_u asked scout.pocket with 20 boxes" in told.err
    with Pillow.open(tmp_path / "p.png") as sheet:
        assert sheet.width >= 640
    report = json.loads(hilum("ask", "sam_u", "--over", "scout", disc, *BOX, "--json").out)
    unsure = report["objects"][0]["uncertainty"]
    assert 0 <= unsure["mean_in_mask"] <= unsure["highest"] <= np.float32(np.log(2))
    assert report["provenance"]["system"] == "sam_u"
    assert report["provenance"]["weights"] == "scout.pocket"


def test_uncertainty_is_written_as_numbers(hilum, disc, tmp_path):
    ended = hilum("ask", "sam_u", "--over", "scout", disc, *BOX, "-o", tmp_path / "u.npz")
    assert ended.code == 0, ended.err
    assert np.load(tmp_path / "u.npz")["uncertainty"].shape == (1, 40, 60)


def test_who_cannot_be_asked_is_a_sentence(hilum, disc):
    ended = hilum("ask", "scout", "--over", "medsam", disc, *BOX)
    assert ended.code == 2
    assert "scout answers by itself" in ended.err
    ended = hilum("ask", "--over", "scout", disc, *BOX)
    assert ended.code == 2
    assert "name the system that asks it first" in ended.err
    ended = hilum("ask", "sam_u", "--over", "autosam", disc, *BOX)
    assert ended.code == 2
    assert "autosam takes labels, got Box. Systems that take box: " in ended.err
