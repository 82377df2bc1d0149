"""What is kept is named by all that it depends on, and appears whole or not at all."""

import os

import pytest
import torch
from torch import nn

from hilum.backends import cache
from hilum.parts.sam import TINY, sam


class Scaled(nn.Module):
    def __init__(self, factor: float):
        super().__init__()
        self.factor = factor
        self.weight = nn.Parameter(torch.ones(3))

    def forward(self, x):
        return self.factor * self.weight * x


def test_the_same_network_has_the_same_name():
    assert cache.fingerprint(Scaled(2.0), "k") == cache.fingerprint(Scaled(2.0), "k")


def test_the_name_depends_on_key_sizes_weights_and_on_numbers_that_are_no_weights():
    trained = Scaled(2.0)
    trained.weight.data[1] += 1e-6
    networks = [(Scaled(2.0), "k"), (Scaled(2.0), ""), (Scaled(3.0), "k"), (trained, "k"), (nn.Linear(3, 3), "k")]
    assert len({cache.fingerprint(*each) for each in networks}) == len(networks)


def test_exchanged_weights_get_another_name():
    one = nn.Linear(2, 2, bias=False)
    other = nn.Linear(2, 2, bias=False)
    other.weight.data = one.weight.data.flip(0)
    assert cache.fingerprint(one, "k") != cache.fingerprint(other, "k")


def test_heads_enter_the_structure_though_no_weight_shows_them():
    one, other = sam(TINY).image_encoder, sam(TINY).image_encoder
    assert cache.structure(one) == cache.structure(other)
    other.blocks[0].attend.attention.heads = 4
    assert cache.structure(one) != cache.structure(other)


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    def broken(folder):
        (folder / "half").write_text("half")
        raise OSError(28, "no space left on device")

    with pytest.raises(OSError, match="no space"):
        cache.publish(tmp_path / "model", broken)
    assert list(tmp_path.iterdir()) == []
    assert cache.publish(tmp_path / "model", lambda folder: (folder / "file").write_text("whole"))
    assert (tmp_path / "model" / "file").read_text() == "whole"


def test_the_second_of_two_writers_gives_way(tmp_path):
    cache.publish(tmp_path / "model", lambda folder: (folder / "file").write_text("first"))
    assert not cache.publish(tmp_path / "model", lambda folder: (folder / "file").write_text("second"))
    assert (tmp_path / "model" / "file").read_text() == "first"
    assert [place.name for place in tmp_path.iterdir()] == ["model"]


def test_the_least_recently_used_goes_first(tmp_path):
    for age, name in ((300, "old"), (200, "middle"), (100, "new")):
        cache.publish(tmp_path / name, lambda folder: (folder / "file").write_bytes(bytes(1000)))
        stamp = (tmp_path / name / cache.USED).stat().st_mtime - age
        os.utime(tmp_path / name / cache.USED, (stamp, stamp))
    cache.touch(tmp_path / "old")
    cache.sweep(tmp_path, most=2500)
    assert sorted(place.name for place in tmp_path.iterdir()) == ["new", "old"]


def test_what_was_never_finished_goes_after_a_day(tmp_path):
    for name, age in (("then", 2 * cache.STALE), ("now", 0)):
        place = tmp_path / f".{name}.part"
        place.mkdir()
        stamp = place.stat().st_mtime - age
        os.utime(place, (stamp, stamp))
    cache.sweep(tmp_path)
    assert [place.name for place in tmp_path.iterdir()] == [".now.part"]
