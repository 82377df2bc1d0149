"""Verifying: stored weights are read again, and whatever is wrong with them is found."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch_files import SHAPES, candidate, card, state

from hilum.values.errors import WeightsUnavailable
from hilum.weights import store
from hilum.weights.importer import Wish, import_file
from hilum.weights.verification import Verdict, verify


@pytest.fixture(autouse=True)
def _own(tmp_path, monkeypatch):
    monkeypatch.setenv("HILUM_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setattr(store, "POCKET", tmp_path / "pocket")


def bring(tmp_path, name="twin.big", seed=0, **changes):
    file = f"{name}.safetensors"
    save_file(state(seed), tmp_path / file)
    one = candidate(name, file=file, **changes)
    import_file(tmp_path / file, [one], Wish(accept_hash=True))
    return one


def wrong(verdict: Verdict) -> list[str]:
    return [check.sentence for check in verdict.checks if not check.sound]


def test_a_sound_file_is_sound_in_all_that_was_looked_at(tmp_path):
    one = bring(tmp_path)
    verdict = verify(card(), "big", [one])
    assert verdict.sound
    said = " ".join(check.sentence for check in verdict.checks)
    for part in ("4 tensors", "names and shapes are those of twin.big", "as the record says", "twin.big.safetensors"):
        assert part in said
    assert verdict.sha256 == store.find(card()).sha256


def test_one_changed_byte_is_found(tmp_path):
    one = bring(tmp_path)
    path = store.place("twin", "big") / store.MODEL
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    verdict = verify(card(), "big", [one])
    assert not verdict.sound
    assert ["the file has changed" in each for each in wrong(verdict)] == [True]


def test_a_cut_file_is_found(tmp_path):
    one = bring(tmp_path)
    path = store.place("twin", "big") / store.MODEL
    path.write_bytes(path.read_bytes()[:-4])
    assert any("not a sound safetensors file" in each for each in wrong(verify(card(), "big", [one])))


@pytest.mark.parametrize("change", ["shape", "name", "count"])
def test_other_tensors_than_the_layouts_are_found(tmp_path, change):
    one = bring(tmp_path)
    path = store.place("twin", "big") / store.MODEL
    tensors = load_file(path)
    match change:
        case "shape":
            tensors["encoder.bias"] = torch.zeros(7)
        case "name":
            tensors["other"] = tensors.pop("encoder.bias")
        case "count":
            tensors["head.position_ids"] = torch.zeros(1)
    save_file(tensors, path)
    assert any("names and shapes" in each for each in wrong(verify(card(), "big", [one])))


def test_a_lost_record_is_found(tmp_path):
    one = bring(tmp_path)
    (store.place("twin", "big") / store.RECORD).unlink()
    assert any("record.json" in each for each in wrong(verify(card(), "big", [one])))


def test_a_file_equal_to_another_systems_is_found(tmp_path):
    """As users found a fine-tuned file that was the base model byte for byte."""
    base, tuned = bring(tmp_path, "base.big"), bring(tmp_path, "twin.big")
    verdict = verify(card(), "big", [base, tuned])
    assert wrong(verdict) == [
        "byte for byte equal to base.big (base.big.safetensors): one of the two is not what it is called"
    ]


def test_of_two_equal_files_the_pinned_one_is_sound(tmp_path):
    tuned = bring(tmp_path, "twin.big")
    digest = store.record("twin", "big").file_sha256
    base = bring(tmp_path, "base.big", sha256=digest[:8])
    assert verify(card("base"), "big", [base, tuned]).sound
    assert not verify(card(), "big", [base, tuned]).sound


def test_a_file_published_for_two_systems_is_sound_for_both(tmp_path):
    save_file(state(), tmp_path / "shared.safetensors")
    both = [candidate(name, file="shared.safetensors") for name in ("twin.big", "base.big")]
    import_file(tmp_path / "shared.safetensors", both)
    verdict = verify(card(), "big", both)
    assert verdict.sound
    assert any("the same file as base.big" in check.sentence for check in verdict.checks)


def test_a_file_that_is_not_the_pinned_one_is_told_and_sound(tmp_path):
    one = bring(tmp_path, sha256="01ec64")
    verdict = verify(card(), "big", [one])
    assert verdict.sound
    assert any("not the published file" in check.sentence for check in verdict.checks)


def test_shipped_weights_are_verified_by_their_card(tmp_path):
    store.POCKET.mkdir()
    save_file(state(), store.POCKET / "twin.safetensors")
    assert verify(card(), None, [candidate("twin.pocket", shapes=SHAPES)]).sound


def test_absent_weights_say_how_to_get_them():
    with pytest.raises(WeightsUnavailable, match="weights pull"):
        verify(card(), "big", [])
    with pytest.raises(WeightsUnavailable):
        verify(card(weights=()), None, [])
