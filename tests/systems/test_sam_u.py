"""Many boxes: how they are drawn, what their answers are made into, and over whom."""

import json

import numpy as np
import pytest
from scipy.stats import entropy

from conftest_contract import picture, volume
from hilum import registry
from hilum.io.uncertainty import band, summary
from hilum.systems.sam_u import Manner, SamU, Spread
from hilum.values.errors import BadInput, UnsupportedPrompt
from hilum.values.image import from_array
from hilum.values.prompts import Box, PlanePrompt

BOX = np.array([[10.0, 20.0], [49.0, 39.0]])  # 40 × 20
SIZE = (60, 70)
FEW = Manner(boxes=5)


@pytest.mark.parametrize("tag", ["vit_b", "vit_l", "vit_h"])
def test_weights_are_sams_own_files(tag):
    study, mine = (registry.find(name) for name in ("sam_study", "sam_u"))
    assert mine.system_class().layout(tag) == study.system_class().layout(tag)
    published, shared = study.card.entry(tag), mine.card.entry(tag)
    assert (shared.file, shared.source, shared.sha256) == (published.file, published.source, published.sha256)


def test_the_drawn_box_is_the_first_of_twenty():
    boxes = Manner().around(BOX, SIZE)
    assert boxes.shape == (20, 2, 2)
    assert np.array_equal(boxes[0], BOX)
    assert not any(np.array_equal(box, BOX) for box in Manner(original=False).around(BOX, SIZE)[:3])


def test_uniform_shifts_are_whole_pixels_as_far_as_a_share_of_the_side():
    shifts = Manner(boxes=2001, reach=0.1).around(BOX, SIZE)[1:] - BOX
    assert np.array_equal(shifts, np.rint(shifts))
    assert np.abs(shifts[..., 0]).max() == 4
    assert np.abs(shifts[..., 1]).max() == 2
    counts = np.unique(shifts[:, 0, 1], return_counts=True)[1]
    assert len(counts) == 5
    assert counts.min() > 330  # of 400 each
    assert abs(np.corrcoef(shifts[:, 0, 0], shifts[:, 1, 0])[0, 1]) < 0.1  # each edge for itself


def test_pixels_and_deviations():
    shifts = Manner(boxes=2001, unit="pixels", reach=3).around(BOX, SIZE)[1:] - BOX
    assert np.abs(shifts).max(axis=(0, 1)).tolist() == [3, 3]
    shifts = Manner(boxes=2001, law="gaussian", unit="pixels", reach=1.5).around(BOX, SIZE)[1:] - BOX
    assert shifts.std() == pytest.approx(1.5, rel=0.05)
    assert not np.array_equal(shifts, np.rint(shifts))


def test_boxes_stay_in_the_picture_and_keep_their_corners_in_order():
    corner = np.array([[0.0, 0.0], [2.0, 1.0]])
    boxes = Manner(boxes=200, unit="pixels", reach=8).around(corner, SIZE)
    assert boxes.min() == 0
    assert (boxes[:, 0] <= boxes[:, 1]).all()
    boxes = Manner(boxes=200, unit="pixels", reach=90).around(BOX, SIZE)
    assert boxes.max(axis=(0, 1)).tolist() == [69, 59]


def test_a_tiny_box_moves_too_and_a_reach_of_nothing_does_not_move():
    tiny = np.array([[10.0, 20.0], [13.0, 23.0]])
    assert set(np.unique(Manner().around(tiny, SIZE)[1:] - tiny)) == {-1, 0, 1}
    assert (Manner(reach=0).around(BOX, SIZE) == BOX).all()


def test_same_seed_same_boxes():
    assert np.array_equal(Manner().around(BOX, SIZE), Manner().around(BOX, SIZE))
    assert not np.array_equal(Manner().around(BOX, SIZE), Manner(seed=1).around(BOX, SIZE))


@pytest.mark.parametrize("wrong", [{"boxes": 1}, {"reach": -1.0}, {"law": "cauchy"}, {"reading": "variance"}])
def test_a_manner_that_means_nothing_is_refused(wrong):
    with pytest.raises(ValueError, match=r"at least two boxes|is none of"):
        Manner(**wrong)


def test_spread_of_answers():
    samples = np.array([0.2, 0.6, 0.7, 0.9], dtype=np.float32)
    spread = Spread(samples[:, None, None])
    assert spread.mean.item() == pytest.approx(0.6)
    assert spread.deviation.item() == pytest.approx(np.std(samples, ddof=1))
    assert spread.votes.item() == 0.75
    assert spread.entropy("mean").item() == pytest.approx(entropy([0.6, 0.4]))
    assert spread.entropy("votes").item() == pytest.approx(entropy([0.75, 0.25]))
    assert spread.entropy("single").item() == pytest.approx(-0.6 * np.log(0.6))
    certain = Spread(np.array([[[0.0, 1.0]], [[0.0, 1.0]]], dtype=np.float32))
    for reading in ("mean", "votes", "single"):
        assert certain.entropy(reading).tolist() == [[0.0, 0.0]]


def test_the_picture_is_seen_once(monkeypatch):
    system, image, looked = SamU.tiny().asking(FEW), picture(None), []
    see = system.network.image_encoder.forward
    monkeypatch.setattr(system.network.image_encoder, "forward", lambda pixels: looked.append(1) or see(pixels))
    answer = system.ask(image, Box((12, 10), (40, 34)))
    assert looked == [1]
    assert "asked sam_u.tiny with 5 boxes, the drawn one among them" in " ".join(answer.provenance.notes)


@pytest.mark.parametrize("make", [picture, volume])
@pytest.mark.parametrize("axis", [0, 1])
def test_uncertainty_lies_on_the_grid_and_follows_the_patient(make, axis):
    system, image = SamU.tiny().asking(FEW), make(None)
    low, high = np.array([14, 12, 2])[: image.dimensions], np.array([38, 33, 2])[: image.dimensions]
    answer = system.ask(image, Box(low, high))
    assert answer.uncertainty.shape == answer.masks.shape
    assert 0 <= answer.uncertainty.min() < answer.uncertainty.max() <= np.float32(np.log(2))
    size = image.grid[::-1][axis]
    low[axis], high[axis] = size - 1 - high[axis], size - 1 - low[axis]
    turned = system.ask(image.flipped(axis), Box(low, high))
    assert np.array_equal(np.flip(turned.uncertainty, -1 - axis), answer.uncertainty)


@pytest.mark.parametrize("name", [n for n in registry.names(capability="segment", accepts="box") if n != "sam_u"])
def test_any_system_that_takes_boxes_can_be_asked(name):
    inner = registry.find(name).tiny()
    modalities = inner.card.modalities
    image = picture(None if "any" in modalities else modalities[0])
    system, said = SamU.over(inner).asking(FEW), Box((14, 12), (38, 33))
    answer = system.ask(image, said)
    assert answer.provenance.system == "sam_u"
    assert answer.provenance.weights == f"{name}.tiny"
    assert any(f"asked {name}.tiny with 5 boxes" in note for note in answer.provenance.notes)
    assert answer.uncertainty is not None
    seen = inner.look(image).seen(image.section(), 0)
    boxes = FEW.around(np.array([said.low, said.high]), image.grid)
    several = np.mean([inner.draw(seen, PlanePrompt(box=box)).probability for box in boxes], axis=0)
    assert np.array_equal(answer.masks[0], several > 0.5)


def test_the_asked_systems_contract_holds():
    system = SamU.over(registry.find("medsam").tiny())
    with pytest.raises(BadInput, match=r"medsam is meant for .* this image says EEG"):
        system.ask(picture("EEG"), Box((14, 12), (38, 33)))


def test_loading_over_a_system_that_is_here():
    system = registry.load("sam_u", over="scout", device="cpu")
    assert system.tag == "scout.pocket"
    assert system.weights_sha256
    again = registry.load("sam_u", over=system.inner)
    assert again.inner is system.inner
    with pytest.raises(BadInput, match="scout answers by itself"):
        registry.load("scout", over="sam_u")


def test_a_system_without_boxes_is_refused_with_a_sentence():
    from capabilities.threshold import Threshold

    inner = Threshold.tiny()
    assert SamU.over(inner)
    without = [name for name in registry.names() if "box" not in registry.card(name).accepts]
    for name in without:
        with pytest.raises(UnsupportedPrompt, match=f"{name} takes .*, got Box"):
            registry.load("sam_u", over=name)


def test_a_plane_without_a_box_is_refused():
    system = SamU.tiny()
    seen = system.see(from_array(np.zeros((1, 20, 20), dtype=np.uint8)))
    with pytest.raises(UnsupportedPrompt, match="sam_u takes box"):
        system.draw(seen, PlanePrompt())


def test_the_boundary_is_two_pixels_on_either_side_within_each_plane():
    planes = np.zeros((2, 9, 11), dtype=bool)
    planes[0, :, 5:] = True
    rows = band(planes)
    assert rows[0, 4].tolist() == [False] * 3 + [True] * 4 + [False] * 4
    assert not rows[1].any()


def test_the_report_sums_up_how_unsure_each_object_is(tmp_path):
    from hilum.io.write import write

    system = SamU.tiny().asking(FEW)
    answer = system.ask(volume(None), Box((14, 12, 2), (38, 33, 2)))
    found = summary(answer, 0)
    assert found.mean_in_mask == pytest.approx(float(answer.uncertainty[answer.masks].mean()), rel=1e-5)
    facts = json.loads(write(answer, tmp_path / "a.json").read_text())["objects"][0]["uncertainty"]
    assert facts["unit"] == "nats"
    assert facts["mean_in_mask"] == pytest.approx(found.mean_in_mask)
    kept = np.load(write(answer, tmp_path / "a.npz"))
    assert np.array_equal(kept["uncertainty"], answer.uncertainty)
