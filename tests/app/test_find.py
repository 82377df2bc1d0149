"""`hilum embed -o INDEX/` and `hilum find`: an index that grows, survives a kill, and is searched by an image."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from hilum.io import vector_index
from hilum.io.vector_index import Row, VectorIndex


@pytest.fixture
def index(hilum, brightness, album, tmp_path) -> Path:
    """The album, embedded."""
    ended = hilum("embed", "brightness", album, "-o", tmp_path / "index")
    assert ended.code == 0, ended.err
    return tmp_path / "index"


def test_an_index_holds_a_row_for_each_picture_and_plane(index, album):
    found = VectorIndex(index)
    assert found.vectors.shape == (6, 3)
    assert [row.item for row in found.rows[:3]] == [str(album / name) for name in ("a.png", "b/d.png", "c.png")]
    assert [row.plane for row in found.rows] == [0, 0, 0, 0, 1, 2]


def test_embedding_again_adds_only_what_is_new_or_changed(hilum, index, album):
    again = hilum("embed", "brightness", album, "-o", index)
    assert again.code == 0
    assert "6 vectors of 3 numbers, 0 images new" in again.out
    Pillow.fromarray(np.full((4, 5), 77, dtype=np.uint8)).save(album / "e.png")
    more = hilum("embed", "brightness", album, "-o", index)
    assert "7 vectors of 3 numbers, 1 images new" in more.out
    assert VectorIndex(index).vectors[6, 0] == 77


def test_what_a_kill_left_half_is_cut_off(hilum, index, album):
    with (index / "vectors.f32").open("ab") as stream:
        stream.write(b"\0" * 7)
    with (index / "items.jsonl").open("a") as stream:
        stream.write('{"item": "half')
    assert len(VectorIndex(index).rows) == 6
    (album / "c.png").touch()  # changed, by its time
    assert hilum("embed", "brightness", album, "-o", index).code == 0
    found = VectorIndex(index)
    assert len(found.rows) == 7
    assert found.rows[6].item.endswith("c.png")
    np.testing.assert_array_equal(found.vectors[6], found.vectors[2])


def test_an_image_finds_itself_and_the_page_shows_it(hilum, index, album, tmp_path):
    page = tmp_path / "page.html"
    ended = hilum("find", index, album / "c.png", "--top", 2, "--html", page, "--json")
    assert ended.code == 0, ended.err
    told = json.loads(ended.out)
    assert told["found"][0]["cosine"] == pytest.approx(1.0)
    assert len(told["found"]) == 2
    text = page.read_text()
    assert text.count("data:image/png;base64,") == 2
    assert "Research use only" in text
    assert "http" not in text
    assert hilum("find", index, album / "c.png", "--html", page).code == 2


def test_words_want_a_system_that_reads_them(hilum, index):
    ended = hilum("find", index, "left pleural effusion")
    assert ended.code == 2
    assert "brightness has no vectors of texts" in ended.err


def test_what_is_no_index_and_what_another_system_made_is_refused(hilum, index, brightness, album, tmp_path):
    ended = hilum("find", tmp_path, "words")
    assert ended.code == 2
    assert "is no index" in ended.err
    full = tmp_path / "full"
    full.mkdir()
    (full / "note.txt").write_text("mine")
    ended = hilum("embed", "brightness", album, "-o", full)
    assert ended.code == 2
    assert "other things in it" in ended.err
    about = json.loads((index / "index.json").read_text())
    (index / "index.json").write_text(json.dumps({**about, "weights_sha256": "another"}))
    for words in (("embed", "brightness", album, "-o", index), ("find", index, album / "c.png")):
        assert hilum(*words).code == 2


def test_many_rows_are_searched_through_a_graph(tmp_path, monkeypatch):
    pytest.importorskip("usearch", reason="the extra `scale` is not installed")
    monkeypatch.setattr(vector_index, "MANY", 200)
    rng = np.random.default_rng(0)
    index = VectorIndex.begin(tmp_path / "index", {"system": "x", "dim": 16})
    vectors = rng.normal(size=(500, 16)).astype(np.float32)
    for part in (range(300), range(300, 500)):
        index.append(vectors[list(part)], [Row(f"image {place}", (), 0, "") for place in part])
        exact = np.argsort(-(vectors[: part.stop] @ vectors[7]) / np.linalg.norm(vectors[: part.stop], axis=1))[:10]
        found = [int(hit.row.item.split()[1]) for hit in index.nearest(vectors[7], 10)]
        assert found[0] == 7
        assert len(set(found) & set(exact.tolist())) >= 9
