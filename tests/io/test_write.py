"""The front door of answers: suffixes, overlaps, what a report says."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
from grids import PROVENANCE, answer_on, leftovers, picture, volume

from hilum.io.read import read
from hilum.io.report import SCHEMA, report
from hilum.io.write import WRITERS, check_write, write
from hilum.values.answers import Embedding, Findings, Reply, Scores, Segmentation
from hilum.values.errors import BadInput

REPLY = Reply("a small effusion", 4, PROVENANCE)
SCORES = Scores(("a", "b"), np.array([0.1, np.nan]), np.array([0.25, 0.75]), PROVENANCE)
EMBEDDING = Embedding(np.arange(6, dtype=np.float32).reshape(2, 3), ("image", "dim"), PROVENANCE)
FINDINGS = Findings(({"name": "nodule", "at": np.array([1.0, 2.0]), "odd": {1: None}},), PROVENANCE)


def test_an_unknown_suffix_is_answered_with_the_known_ones(tmp_path):
    with pytest.raises(BadInput, match=r"written as \.nii, \.nii\.gz, \.nrrd, .*\.json, \.npz; got 'mask\.stl'"):
        write(answer_on(volume()), tmp_path / "mask.stl")
    with pytest.raises(BadInput, match=r"a reply is written as \.json; got 'reply\.nii'"):
        write(REPLY, tmp_path / "reply.nii")
    with pytest.raises(BadInput, match="got 'mask'"):
        write(answer_on(volume()), str(tmp_path / "mask"))
    assert leftovers(tmp_path) == []


def test_suffixes_are_read_in_any_case(tmp_path):
    assert write(answer_on(volume()), tmp_path / "MASK.NII.GZ").read_bytes()[:2] == b"\x1f\x8b"


def test_a_target_can_be_checked_before_the_work(tmp_path):
    check_write(Segmentation, tmp_path / "mask.nii")
    with pytest.raises(BadInput, match="no folder"):
        check_write(Segmentation, tmp_path / "none" / "mask.nii")
    with pytest.raises(BadInput, match="is written as"):
        check_write(Reply, tmp_path / "mask.nii")
    (tmp_path / "mask.nii").touch()
    with pytest.raises(BadInput, match="--force"):
        check_write(Segmentation, tmp_path / "mask.nii")
    check_write(Segmentation, tmp_path / "mask.nii", force=True)


@pytest.mark.parametrize("name", ["mask.nii", "mask.nii.gz", "mask.nrrd", "mask.seg.nrrd", "answer.json"])
def test_the_same_answer_is_the_same_bytes(name, tmp_path):
    answer = answer_on(volume(), 3)
    assert write(answer, tmp_path / name).read_bytes() == write(answer, tmp_path / f"again.{name}").read_bytes()


@pytest.mark.parametrize("name", ["mask.nii", "mask.nii.gz", "mask.nrrd", "mask.png"])
def test_overlaps_are_refused_by_name_with_a_way_out(name, tmp_path):
    image = picture() if name == "mask.png" else volume()
    masks = np.zeros((3, *image.grid), dtype=bool)
    masks[1, ..., :2], masks[2, ..., 1:3] = True, True
    answer = Segmentation(masks, ("liver", "spleen", "left kidney"), (1.0, 1.0, 1.0), image, PROVENANCE)
    shared = int(masks[1:].all(axis=0).sum())
    with pytest.raises(
        BadInput, match=rf"spleen and left kidney share {shared} voxels.*\.dcm \(SEG\).*one object at a time"
    ):
        write(answer, tmp_path / name)
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("name", ["mask.nii", "mask.nrrd", "mask.seg.nrrd", "mask.png", "answer.json"])
def test_nothing_found_is_an_empty_mask(name, tmp_path):
    image = picture() if name == "mask.png" else volume()
    none = Segmentation(np.zeros((1, *image.grid), dtype=bool), ("lesion",), (0.0,), image, PROVENANCE)
    write(none, tmp_path / name)
    if name == "answer.json":
        assert json.loads((tmp_path / name).read_text())["objects"][0]["box"] is None
    else:
        assert not read(tmp_path / name).array.any()


def test_a_volume_of_many_planes_is_no_png(tmp_path):
    with pytest.raises(BadInput, match=r"holds one plane, this mask has 4: write \.nii\.gz, \.nrrd or \.dcm"):
        write(answer_on(volume()), tmp_path / "mask.png")
    assert read(write(answer_on(volume((1, 5, 6)), 1), tmp_path / "mask.png")).grid == (5, 6)


def test_dicom_goes_to_its_own_writer(tmp_path, monkeypatch):
    class Door:
        @staticmethod
        def write_seg(answer, path):
            path.write_bytes(b"SEG of " + answer.names[0].encode())

    monkeypatch.setitem(sys.modules, "hilum.io.segmentation", Door)
    assert write(answer_on(volume()), tmp_path / "seg.dcm").read_bytes() == b"SEG of object 1"


def test_a_report_of_a_volume_has_millilitres_box_and_place(tmp_path):
    answer = answer_on(volume(), 2)
    said = json.loads(write(answer, tmp_path / "answer.json").read_text())
    assert (said["schema"], said["kind"]) == (SCHEMA, "segmentation")
    assert said["notice"] == "research use only, not a medical device"
    assert said["objects"][0]["name"] == "object 1"
    assert said["objects"][0]["voxels"] == int(answer.masks[0].sum())
    assert said["objects"][0]["millilitres"] == pytest.approx(answer.masks[0].sum() * 0.7 * 0.9 * 2.5 / 1000)
    assert said["objects"][0]["box"] == {"low": list(answer.boxes()[0][0]), "high": list(answer.boxes()[0][1])}
    assert "square_millimetres" not in said["objects"][0]
    assert said["image"]["size"] == [6, 5, 4]
    assert said["image"]["spacing_mm"] == [0.7, 0.9, 2.5]
    assert np.array_equal(said["image"]["affine_lps"], answer.image.affine)
    assert said["provenance"]["system"] == "scout"


@pytest.mark.parametrize(("space", "area"), [("plane", 0.5 * 0.25), ("pixel", None)])
def test_a_report_of_a_picture_has_an_area_only_where_it_is_known(space, area):
    answer = answer_on(picture(space=space), 1)
    (said,) = report(answer)["objects"]
    assert "millilitres" not in said
    assert said.get("square_millimetres") == (None if area is None else pytest.approx(area * said["voxels"]))


def test_overlaps_are_reported():
    assert report(answer_on(volume(), 2, overlapping=True))["overlaps"] == [["object 1", "object 2"]]


@pytest.mark.parametrize("answer", [REPLY, SCORES, EMBEDDING, FINDINGS], ids=lambda answer: type(answer).__name__)
def test_every_answer_has_a_report_in_strict_json(answer, tmp_path):
    def refused(word):
        raise AssertionError(f"{word} is no JSON")

    said = json.loads(write(answer, tmp_path / "answer.json").read_text(), parse_constant=refused)
    assert said["kind"] == type(answer).__name__.lower()
    assert said["provenance"]["weights"] == "pocket"
    assert ".json" in WRITERS[type(answer)]


def test_reports_say_what_the_answers_say():
    assert report(REPLY)["text"] == "a small effusion"
    assert report(SCORES)["labels"] == [
        {"name": "a", "similarity": 0.1, "softmax": 0.25},
        {"name": "b", "similarity": None, "softmax": 0.75},
    ]
    assert report(EMBEDDING)["vectors"] == EMBEDDING.vectors.tolist()
    assert report(FINDINGS)["findings"] == [{"name": "nodule", "at": [1.0, 2.0], "odd": {"1": None}}]


def test_calibrated_probabilities_are_reported():
    sure = replace(SCORES, probability=np.array([0.2, 0.6]))
    assert [label["probability"] for label in report(sure)["labels"]] == [0.2, 0.6]


def test_vectors_and_uncertainty_need_no_pickle(tmp_path):
    with np.load(write(EMBEDDING, tmp_path / "vectors.npz"), allow_pickle=False) as found:
        assert np.array_equal(found["vectors"], EMBEDDING.vectors)
        assert found["axes"].tolist() == ["image", "dim"]
    answer = answer_on(volume())
    unsure = replace(answer, uncertainty=np.full(answer.masks.shape, 0.5, dtype=np.float32))
    with np.load(write(unsure, tmp_path / "unsure.npz"), allow_pickle=False) as found:
        assert np.array_equal(found["uncertainty"], unsure.uncertainty)
        assert np.array_equal(found["affine"], answer.image.affine)
    with pytest.raises(BadInput, match="this answer has none"):
        write(answer, tmp_path / "none.npz")


NAMED = replace(EMBEDDING, items=tuple("ab"[: len(EMBEDDING.vectors)]), planes=tuple(range(len(EMBEDDING.vectors))))


def test_vectors_keep_the_names_of_their_rows_and_where_they_came_from(tmp_path):
    with np.load(write(NAMED, tmp_path / "vectors.npz"), allow_pickle=False) as found:
        assert found["items"].tolist() == list(NAMED.items)
        assert found["planes"].tolist() == list(NAMED.planes)
        assert json.loads(str(found["provenance"])) == json.loads(json.dumps(NAMED.provenance.as_dict()))
    assert report(NAMED)["items"] == list(NAMED.items)
    with pytest.raises(ValueError, match="vectors want as many items"):
        replace(EMBEDDING, items=("one", "too", "many", "names"))


def test_vectors_as_a_table(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(write(NAMED, tmp_path / "vectors.parquet"))
    assert table.column_names == ["item", "plane", "vector"]
    assert np.allclose(table["vector"].to_pylist(), NAMED.vectors)
    assert json.loads(table.schema.metadata[b"hilum"])["axes"] == list(NAMED.axes)
    assert parquet.read_table(write(EMBEDDING, tmp_path / "bare.parquet")).column_names == ["vector"]
    with pytest.raises(BadInput, match="one vector in a row"):
        write(
            Embedding(np.ones((2, 3, 4), dtype=np.float32), ("image", "token", "dim"), PROVENANCE),
            tmp_path / "3.parquet",
        )
    assert not (tmp_path / "3.parquet").exists()
