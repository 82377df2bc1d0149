"""`hilum embed`: many images in, one file of named vectors out; what fails is told and the rest is kept."""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from phantoms import ct_series, secondary_capture


def npz(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as found:
        return dict(found)


def test_every_image_under_a_folder_has_its_row_in_the_order_of_names(hilum, brightness, album, tmp_path):
    out = tmp_path / "vectors.npz"
    ended = hilum("embed", "brightness", album, "-o", out)
    assert ended.code == 0
    assert ended.out == f"{out}: 6 vectors of 3 numbers, from 4 images\n"
    assert "1 files are no images and were left out" in ended.err
    found = npz(out)
    names = [str(album / name) for name in ("a.png", "b/d.png", "c.png", *["scan.nii.gz"] * 3)]
    assert found["items"].tolist() == names
    assert found["planes"].tolist() == [0, 0, 0, 0, 1, 2]
    assert found["vectors"][:, 0].tolist() == [10, 40, 30, 0, 1, 2]
    assert found["axes"].tolist() == ["plane", "dim"]
    provenance = json.loads(str(found["provenance"]))
    assert provenance["system"] == "brightness"
    assert "5 columns were seen" in provenance["notes"]


def test_pictures_alone_have_the_axis_image(hilum, brightness, album, tmp_path):
    assert hilum("embed", "brightness", album / "a.png", album / "b", "-o", tmp_path / "v.npz").code == 0
    assert npz(tmp_path / "v.npz")["axes"].tolist() == ["image", "dim"]


def test_an_image_named_twice_has_one_row(hilum, brightness, album, tmp_path):
    hilum("embed", "brightness", album / "a.png", album, "-o", tmp_path / "v.npz")
    assert npz(tmp_path / "v.npz")["items"].tolist().count(str(album / "a.png")) == 1


def test_parquet_holds_the_same(hilum, brightness, album, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    out = tmp_path / "v.parquet"
    assert hilum("embed", "brightness", album, "-o", out).code == 0
    table = parquet.read_table(out)
    assert table.column_names == ["item", "plane", "vector"]
    assert table["item"].to_pylist()[-1] == str(album / "scan.nii.gz")
    assert table["plane"].to_pylist() == [0, 0, 0, 0, 1, 2]
    assert [row[0] for row in table["vector"].to_pylist()] == [10, 40, 30, 0, 1, 2]
    said = json.loads(table.schema.metadata[b"hilum"])
    assert said["axes"] == ["plane", "dim"]
    assert said["provenance"]["weights"] == "brightness.tiny"


def test_a_missing_library_is_a_sentence_before_the_work(hilum, brightness, album, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    ended = hilum("embed", "brightness", album, "-o", tmp_path / "v.parquet")
    assert ended.code == 1
    assert ended.err == (
        "writing .parquet needs the package pyarrow, which is not installed: pip install 'hilum[parquet]'\n"
    )


def test_what_cannot_be_read_is_told_and_the_rest_is_kept(hilum, brightness, album, tmp_path):
    (album / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing")
    (album / "empty.nii").touch()
    (album / "torn.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 40)
    ended = hilum("embed", "brightness", album, "--json", "-o", tmp_path / "v.npz")
    assert ended.code == 1
    assert "3 of 7 images failed, as listed above." in ended.err
    said = json.loads(ended.out)
    assert {Path(each["image"]).name for each in said["failed"]} == {"empty.nii", "torn.dcm", "broken.png"}
    assert all(each["why"] for each in said["failed"])
    assert said["shape"] == [6, 3]
    assert len(said["images"]) == 4
    assert said["left_out"] == [str(album / "readme.txt")]
    assert len(npz(tmp_path / "v.npz")["vectors"]) == 6


def test_where_nothing_can_be_embedded_nothing_is_written(hilum, brightness, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing")
    ended = hilum("embed", "brightness", tmp_path / "broken.png", "-o", tmp_path / "v.npz")
    assert ended.code == 2
    assert "nothing was embedded: 1 images failed" in ended.err
    (tmp_path / "none").mkdir()
    assert "no image was found under" in hilum("embed", "brightness", tmp_path / "none", "-o", tmp_path / "v.npz").err
    assert not (tmp_path / "v.npz").exists()


def test_dicom_series_are_volumes_and_pictures_without_places_stand_alone(hilum, brightness, tmp_path):
    ct_series(tmp_path / "in" / "ct", "tilted")
    (tmp_path / "in" / "shots").mkdir()
    for number in (1, 2):
        path = tmp_path / "in" / "shots" / f"{number}.dcm"
        secondary_capture(path, np.full((8, 9), 10 * number, dtype=np.uint8))
    ended = hilum("embed", "brightness", tmp_path / "in", "-o", tmp_path / "v.npz")
    assert ended.code == 0, ended.err
    found = npz(tmp_path / "v.npz")
    assert found["items"].tolist() == [str(tmp_path / "in" / "ct")] * 10 + [
        str(tmp_path / "in" / "shots" / f"{number}.dcm") for number in (1, 2)
    ]
    assert found["planes"].tolist() == [*range(10), 0, 0]


def test_a_system_that_gives_no_vectors_says_who_does(hilum, brightness, album, tmp_path):
    ended = hilum("embed", "scout", album, "-o", tmp_path / "v.npz")
    assert ended.code == 2
    assert ended.err.startswith("scout gives no vectors. Systems that embed: ")
    assert "brightness" in ended.err
    assert "did you mean brightness?" in hilum("embed", "brigthness", album, "-o", tmp_path / "v.npz").err


@pytest.mark.parametrize("name", ["v.docx", "none/v.npz", "there.npz"])
def test_a_place_that_cannot_be_written_is_refused_first(hilum, brightness, album, tmp_path, name):
    (tmp_path / "there.npz").write_bytes(b"precious")
    ended = hilum("embed", "brightness", album, "-o", tmp_path / name)
    assert ended.code == 2
    assert (tmp_path / "there.npz").read_bytes() == b"precious"
    if name == "there.npz":
        assert hilum("embed", "brightness", album, "-o", tmp_path / name, "--force").code == 0


def test_stopped_half_way_it_leaves_nothing(hilum, brightness, album, tmp_path, monkeypatch):
    from capabilities.brightness import Brightness

    seen, see = [], Brightness.see

    def stopped(self, plane):
        seen.append(plane)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return see(self, plane)

    monkeypatch.setattr(Brightness, "see", stopped)
    before = sorted(tmp_path.rglob("*"))
    assert hilum("embed", "brightness", album, "-o", tmp_path / "v.npz").code == 130
    assert sorted(tmp_path.rglob("*")) == before


def test_many_different_notes_are_cut_short(hilum, brightness, tmp_path):
    for width in range(1, 26):
        Pillow.fromarray(np.zeros((3, width), dtype=np.uint8)).save(tmp_path / f"{width}.png")
    hilum("embed", "brightness", tmp_path, "-o", tmp_path / "v.json")
    said = json.loads((tmp_path / "v.json").read_text())
    assert len(said["items"]) == 25
    notes = said["provenance"]["notes"]
    assert len(notes) == 21
    assert notes[-1].endswith("more notes, on single images")


@pytest.mark.slow
def test_a_kill_at_any_moment_and_going_on_gives_the_same_vectors(tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    rng = np.random.default_rng(0)
    for number in range(60):
        Pillow.fromarray(rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)).save(pictures / f"{number:03}.png")
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    program = (
        "import sys; from hilum import registry; from hilum.systems.biomedclip import BiomedClip; "
        "registry.load = lambda name, **given: BiomedClip.tiny().placed('cpu', 'torch'); "
        "registry.weights_of = lambda *given: None; from hilum.app import cost; cost.refuse = lambda *given: None; "
        "from hilum.app.cli import main; main(sys.argv[1:])"
    )
    words = [sys.executable, "-c", program, "embed", "biomedclip", str(pictures), "-o"]
    assert subprocess.run([*words, str(whole)], capture_output=True).returncode == 0
    running = subprocess.Popen([*words, str(cut)], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    rows, deadline = cut / "vectors.f32", time.monotonic() + 60
    while running.poll() is None and time.monotonic() < deadline and not (rows.is_file() and rows.stat().st_size > 200):
        time.sleep(0.002)
    running.kill()
    running.wait()
    assert subprocess.run([*words, str(cut)], capture_output=True).returncode == 0
    first, second = (np.fromfile(each / "vectors.f32", np.float32) for each in (whole, cut))
    assert len(first) == 60 * 16
    assert np.array_equal(first, second)
