"""The Universal Model through the door: classes by name, on the user's own grid, one look for all labels."""

import numpy as np
import pytest
import torch
from torch import nn

from conftest_contract import picture, volume
from hilum.capabilities.segment import Semantic
from hilum.capabilities.trainable import Trainable
from hilum.capabilities.volumetric import Volumetric
from hilum.parts.abdominal_classes import CLASSES
from hilum.systems.clip_driven_universal import PAPER, TINY, ClipDrivenUniversal, channel, scaled
from hilum.values import geometry
from hilum.values.errors import BadInput, TooLarge
from hilum.values.image import Display, Image, Source
from hilum.values.prompts import Labels
from hilum.weights.recognise import Candidate, fit

BRIGHT = {"liver": 0.5, "liver tumor": 0.8, "spleen": 0.5}  # class -> the part of the window from which it is seen


class Brightness(nn.Module):
    """In place of a trained network: a class is wherever the window is brighter than its part."""

    passes = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        type(self).passes += 1
        bounds = torch.tensor([BRIGHT.get(name, 2.0) for name in CLASSES])
        return 20 * (x - bounds[:, None, None, None])


def bright() -> ClipDrivenUniversal:
    return ClipDrivenUniversal(Brightness(), TINY)


def balls(spacing=(0.8, 0.9, 2.5), grid=(24, 60, 70)) -> tuple[Image, np.ndarray, np.ndarray]:
    """A CT with a ball (an organ) that holds a smaller, brighter one (a tumour), oblique in the patient."""
    affine = geometry.with_step(np.diag(spacing), np.array([5.0, -40.0, 100.0])).copy()
    turn = np.radians(10)
    affine[:2, :2] = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ affine[:2, :2]
    z, y, x = np.indices(grid)
    away = np.sqrt(((x - 30) * spacing[0]) ** 2 + ((y - 28) * spacing[1]) ** 2 + ((z - 12) * spacing[2]) ** 2)
    organ, tumour = away < 20, away < 8
    values = np.where(tumour, 220, np.where(organ, 100, -60)).astype(np.int16)
    return Image(values[None], affine, "patient", Display(-175, 250), Source(modality="CT")), organ, tumour


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * (one & other).sum() / (one.sum() + other.sum())


def test_it_is_volumetric_and_learns_from_volumes_only():
    system = ClipDrivenUniversal.tiny()
    assert isinstance(system, Volumetric)
    assert not isinstance(system, Semantic | Trainable)


def test_organ_and_tumour_come_back_on_the_users_grid_and_overlap():
    image, organ, tumour = balls()
    answer = bright().ask(image, Labels(("Liver", "liver tumours")))
    assert answer.names == ("liver", "liver tumor")
    assert dice(answer.masks[0], organ) > 0.93
    assert dice(answer.masks[1], tumour) > 0.85
    assert answer.overlaps() == (("liver", "liver tumor"),)
    assert answer.image is image
    assert all(score > 0.8 for score in answer.scores)


def test_all_classes_without_labels_and_what_is_absent_is_said():
    answer = bright().ask(balls()[0])
    assert answer.names == ("spleen", "liver", "liver tumor")
    assert any(note.startswith("not found: right kidney, left kidney") for note in answer.provenance.notes)
    none = bright().ask(balls()[0], Labels(("pancreas",)))
    assert none.names == ()
    assert none.masks.shape == (0, *none.image.grid)


def test_labels_asked_later_cost_no_second_look(tmp_path):
    image = balls()[0]
    Brightness.passes = 0
    look = bright().look(image, keep=tmp_path)
    first = look.ask(Labels(("liver",)))
    passes = Brightness.passes
    assert passes > 0
    look.ask(Labels(("liver tumor",)))
    again = bright().look(image, keep=tmp_path).ask(Labels(("liver",)))
    assert Brightness.passes == passes
    np.testing.assert_array_equal(first.masks, again.masks)
    moved = Image(image.array, geometry.with_step(np.diag([1.0, 1, 1]), np.zeros(3)), "patient", image.display)
    bright().look(moved, keep=tmp_path).ask(Labels(("liver",)))
    assert Brightness.passes > passes, "another spacing is another look"


def test_unknown_names_are_refused_before_anything_is_looked_at():
    Brightness.passes = 0
    with pytest.raises(BadInput, match=r"does not know unicorn; it knows spleen, right kidney, .*, kidney cyst$"):
        bright().ask(balls()[0], Labels(("liver", "unicorn")))
    with pytest.raises(BadInput, match="no templates"):
        bright().ask(balls()[0], Labels(("liver",), templates=("a {}",)))
    assert Brightness.passes == 0


def test_pictures_colours_and_answers_too_large_are_refused(monkeypatch):
    system, (image, _, _) = bright(), balls()
    with pytest.raises(BadInput, match="looks at whole volumes"):
        system.ask(picture("CT"))
    with pytest.raises(BadInput, match="colours"):
        system.ask(Image(np.repeat(image.array, 3, axis=0), image.affine, "patient", image.display, image.source))
    monkeypatch.setenv("HILUM_MAX_BYTES", "1e6")
    with pytest.raises(TooLarge, match="the answer of 32 classes unpacks to"):
        system.ask(image)
    assert system.ask(image, Labels(("liver",))).names == ("liver",)


def test_a_scan_of_air_has_nothing_in_it():
    image = balls()[0]
    assert bright().ask(image.with_array(np.full_like(image.array, -1000))).names == ()


def test_only_the_foreground_is_looked_at():
    """Air around the patient takes no windows."""
    image, organ, _ = balls(grid=(24, 60, 70))
    values = np.full((1, 24, 60, 300), -1000, dtype=np.int16)
    values[..., :70] = image.array
    seen = bright().see_volume(Image(values, image.affine, "patient", image.display))
    assert seen["bits"].shape[1] <= 70 * 0.8 / 1.5 + 2
    wide = bright().ask(Image(values, image.affine, "patient", image.display, image.source), Labels(("liver",)))
    assert dice(wide.masks[0][..., :70], organ) > 0.93


def test_bits_hold_every_class():
    found = np.random.default_rng(0).random((32, 3, 4, 5)) < 0.5
    bits = np.packbits(found, axis=0)
    for number, name in enumerate(CLASSES):
        np.testing.assert_array_equal(channel(bits, name), found[number])


def test_values_that_may_be_no_hounsfield_units_are_doubted():
    image = balls()[0]
    noted = bright().ask(image.with_array(image.array + 500), Labels(("liver",))).provenance.notes
    assert any("no value is below 0" in note for note in noted)
    assert scaled(np.array([-1000, -175, 37.5, 250, 900])).tolist() == [0, 0, 0.5, 1, 1]


def test_a_dicom_series_becomes_a_seg_with_the_codes_of_organ_and_tumour(tmp_path):
    import highdicom

    from hilum.io.dicom import read_dicom
    from hilum.io.write import write
    from phantoms import ct_series

    ct_series(tmp_path / "ct", "tilted")
    answer = bright().ask(read_dicom(tmp_path / "ct"), Labels(("liver", "liver tumor")))
    segments = highdicom.seg.segread(write(answer, tmp_path / "organs.seg.dcm")).SegmentSequence
    types = [segment.SegmentedPropertyTypeCodeSequence[0].CodeMeaning for segment in segments]
    assert types == ["Liver", "Neoplasm"]
    assert segments[1].AnatomicRegionSequence[0].CodeMeaning == "Liver"


def test_published_names_and_older_spellings_are_recognised():
    layout = ClipDrivenUniversal.layout("swin_unetr")
    assert layout["organ_embedding"] == (32, 512)
    assert layout["controller.weight"] == (153, 512, 1, 1, 1)
    assert layout["backbone.swinViT.patch_embed.proj.weight"] == (48, 1, 2, 2, 2)
    assert not any(name.startswith("backbone.out.") for name in layout)
    backbone = {name: shape for name, shape in layout.items() if name.startswith("backbone.")}
    weights = sum(int(np.prod(shape)) for name, shape in backbone.items() if "relative_position_index" not in name)
    assert round(weights / 1e6, 2) == 62.19
    candidate = Candidate(
        "clip_driven_universal",
        "swin_unetr",
        "x.pth",
        lambda: layout,
        spelling=lambda: ClipDrivenUniversal.spelling,
    )
    for told in (
        {f"module.{name}": shape for name, shape in layout.items()},
        {f"module.{name.removeprefix('backbone.')}": shape for name, shape in layout.items()},
        {name.removeprefix("backbone."): shape for name, shape in layout.items()},
    ):
        found = fit(candidate, told)
        assert not found.wrong, found.complaint()
        assert found.names.keys() == told.keys()


def test_published_numbers():
    assert PAPER.sides == (96, 96, 96)
    assert PAPER.head.deep == 768
    assert len(CLASSES) == 32


def test_it_learns_from_cubes_of_the_organs_that_are_labelled():
    image, organ, tumour = balls()
    system = ClipDrivenUniversal.tiny()
    batch = system.crops(image, {"liver": organ, "liver tumor": tumour}, np.random.default_rng(0), count=2)
    assert batch.pixels.shape == (2, 1, *TINY.sides)
    assert batch.labelled.sum(1).tolist() == [2, 2]
    liver, lesion = (batch.masks[:, CLASSES.index(name)] > 0 for name in ("liver", "liver tumor"))
    assert liver.any()
    assert not (lesion & ~liver).any()
    assert batch.masks.sum() == (liver.sum() + lesion.sum())
    terms = system.loss(batch)
    terms.total.backward()
    without = [name for name, weight in system.network.named_parameters() if weight.grad is None]
    assert not without
    assert torch.isfinite(terms.total)


def test_the_look_goes_the_way_of_the_phantom():
    """The untrained network, in a slab of several windows: what one flips with its affine stays in the patient."""
    image = volume("CT")
    grown = Image(np.repeat(image.array, 12, axis=1), image.affine, "patient", image.display, image.source)
    system = ClipDrivenUniversal.tiny()
    straight = system.ask(grown, Labels(("spleen", "hepatic vessel", "lung tumor")))
    turned = system.ask(grown.flipped(2), Labels(("spleen", "hepatic vessel", "lung tumor")))
    np.testing.assert_array_equal(np.flip(turned.masks, 1), straight.masks)
