"""Retrieval by cosine: ranks, texts that are shared, ties, and what chance finds."""

import numpy as np
import pytest
from capabilities.shade import Shade
from PIL import Image as Pillow

from hilum.bench import retrieval
from hilum.bench.retrieval import Vectored, image_ranks, text_ranks, ways
from hilum.train.labelled import LabelledImage
from hilum.values.errors import BadInput


def images(count: int) -> tuple[LabelledImage, ...]:
    return tuple(LabelledImage(str(at), None, at + 2, (), str(at // 2), {}) for at in range(count))


def given(pictures, words, own) -> Vectored:
    own = np.array(own)
    units = (np.array(each, dtype=np.float32) for each in (pictures, words))
    pictures, words = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in units)
    return Vectored(images(len(own)), pictures, tuple(map(str, range(len(words)))), words, own)


def test_ranks_are_the_place_of_the_right_one():
    four = given(np.eye(4) + 0.1 * np.eye(4)[[1, 2, 3, 0]], np.eye(4), [0, 1, 2, 0])
    assert text_ranks(four).tolist() == [1, 1, 1, 2]
    assert image_ranks(four).tolist() == [1, 1, 1, 1]
    turned = given(np.eye(3), np.eye(3)[[1, 2, 0]], [0, 1, 2])
    assert text_ranks(turned).tolist() == [3, 3, 3]  # the two wrong ones are before it or as near
    assert image_ranks(turned).tolist() == [3, 3, 3]


def test_a_system_that_tells_nothing_apart_finds_nothing():
    same = given(np.ones((6, 2)), np.ones((6, 2)), range(6))
    assert text_ranks(same).tolist() == image_ranks(same).tolist() == [6] * 6


def test_blocks_do_not_change_the_ranks(monkeypatch):
    rng = np.random.default_rng(0)
    many = given(rng.normal(size=(50, 4)), rng.normal(size=(30, 4)), [*range(30), *range(20)])
    whole = text_ranks(many), image_ranks(many)
    monkeypatch.setattr(retrieval, "BLOCK", 7)
    np.testing.assert_array_equal(whole, (text_ranks(many), image_ranks(many)))


def test_chance_is_what_drawing_finds():
    rng = np.random.default_rng(1)
    own = np.array([*range(20), *range(10), *range(10)])
    counts = []
    for _ in range(60):
        random = given(rng.normal(size=(40, 8)), rng.normal(size=(20, 8)), own)
        counts.append([way.numbers["recall@5"][0] for way in ways(random, draws=2)])
    there = ways(random, draws=100)
    for at, way in enumerate(there):
        assert np.mean(counts, axis=0)[at] == pytest.approx(way.chance["recall@5"], abs=0.05)
        assert way.numbers["recall@10"][1] <= way.numbers["recall@10"][0] <= way.numbers["recall@10"][2]
    assert list(there[0].chance.values()) == pytest.approx([0.05, 0.25, 0.5, 10.0])
    assert (there[0].among, there[1].among) == (20, 40)
    few = ways(given(np.eye(3), np.eye(3), range(3)), draws=2)[0]
    assert few.chance["recall@10"] == pytest.approx(1.0)


def test_light_is_found_by_the_word_of_it(tmp_path):
    lights = (10, 70, 130, 190, 250)
    table = []
    for light in lights:
        Pillow.fromarray(np.full((4, 4), light, dtype=np.uint8)).save(tmp_path / f"{light}.png")
        table.append(LabelledImage(f"{light}.png", tmp_path / f"{light}.png", 2, (), str(light), {}, f"light {light}"))
    (tmp_path / "broken.png").write_bytes(b"nothing")
    broken = LabelledImage("broken.png", tmp_path / "broken.png", 9, (), "b", {}, "broken")
    found, failed = retrieval.vectored(Shade.tiny(), [*table, broken])
    assert list(failed) == ["broken.png"]
    assert all(way.numbers["recall@1"][0] == 1.0 for way in ways(found, draws=10))
    text = retrieval.markdown(["head"], ways(found, draws=10), {}, 10)
    assert "| image to text | 5 | 1.000 [1.000, 1.000] |" in text
    with pytest.raises(BadInput, match="1 different texts among 1 images"):
        retrieval.vectored(Shade.tiny(), [table[0], broken])
