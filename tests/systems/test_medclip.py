"""MedCLIP's traps: padding in the mean, old names, a buffer in the file, films larger than the network, findings."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from hilum.app.weights_commands import candidates
from hilum.capabilities.trainable import Captioned
from hilum.parts import chest_phrases
from hilum.parts.film_warp import cut, warped
from hilum.parts.reworded import reworded
from hilum.systems.medclip import DEVIATION, MEAN, TINY, WARP, MedClip, meanings
from hilum.values.image import from_array
from hilum.values.prompts import Labels
from hilum.weights.recognise import by_layout, fit

FIVE = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion")


def film(height: int = 40, width: int = 56) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width)).astype(np.uint8)


@pytest.mark.parametrize("tag", ["swin_t", "resnet50"])
def test_the_published_file_is_known_by_its_layout_and_keeps_its_old_names(tag):
    layout = MedClip.layout(tag)
    buffers = {"text_model.model.embeddings.position_ids": (1, 512)}
    if tag == "swin_t":
        block = "vision_model.model.encoder.layers.2.blocks.5.attention.self."
        assert layout[block + "query.weight"] == (384, 384)
        buffers[block + "relative_position_index"] = (49, 49)
    mine = [each for each in candidates() if each.system == "medclip"]
    found = by_layout(mine, {**layout, **buffers}, "pytorch_model.bin")
    assert found.candidate.tag == tag
    assert set(found.ignored) == set(buffers)
    assert not fit(found.candidate, layout).wrong


def test_a_phrase_depends_on_its_class_but_a_text_alone_does_not():
    system = MedClip.tiny()
    alone = system.worded(["small effusion"])
    longer = "a large layering effusion on the left side behind the heart"
    np.testing.assert_allclose(system.worded([longer, "small effusion"])[1], alone[0], atol=1e-6)
    with torch.no_grad():
        assert (system.encoded(["small effusion", longer])[0] - torch.from_numpy(alone[0])).abs().max() > 1e-4


def test_a_label_does_not_depend_on_the_others():
    system, image = MedClip.tiny(), from_array(film()[None])
    one = system.ask(image, Labels(("Edema", "fracture"))).similarity[0]
    other = system.ask(image, Labels(("Edema", "a long label that is padded to its many words"))).similarity[0]
    assert one == pytest.approx(other, abs=1e-6)


def test_five_findings_are_ten_phrases_each_and_others_their_name():
    system = MedClip.tiny()
    for name, said in zip(FIVE, system.phrases(Labels(FIVE)), strict=True):
        assert len(said) == len(set(said)) == 10
        assert said == chest_phrases.drawn(name, 10)
        assert all("  " not in phrase for phrase in said)
    labels = Labels(("edema", "fracture", "edema of today"), texts=(("fluid in the lungs",), (), ()))
    assert system.phrases(labels) == (("fluid in the lungs",), ("fracture",), ("edema of today",))
    assert system.phrases(Labels(("edema",), templates=("a film of {}",))) == (("a film of edema",),)


def test_the_best_phrase_or_their_mean():
    image, labels = from_array(film()[None]), Labels(("edema",), texts=(("wet lungs", "dry lungs", "edema"),))
    tiny = MedClip.tiny()
    best, mean = (
        MedClip(tiny.network, replace(TINY, phrase=phrase)).ask(image, labels).similarity[0]
        for phrase in ("max", "mean")
    )
    assert best > mean


@pytest.mark.parametrize(("size", "way"), [((300, 190), "bilinear"), ((500, 640), "bicubic"), ((60, 224), "bilinear")])
def test_films_are_padded_then_resized_as_torchvision_does(size, way):
    from torchvision.transforms import InterpolationMode, Resize

    picture, side = film(*size), 224
    most = max(side, *size)
    square = Pillow.new("L", (most, most))
    square.paste(Pillow.fromarray(picture), ((most - size[1]) // 2, (most - size[0]) // 2))
    small = np.array(Resize((side, side), getattr(InterpolationMode, way.upper()))(square), dtype=np.float32)
    mine = MedClip(None, replace(TINY, side=side, resize=way)).pixels(picture)
    np.testing.assert_allclose(mine[0, 0], (small / 255 - MEAN) / DEVIATION, atol=1e-5)


def test_findings_make_targets_and_nothing_known_is_no_finding():
    image = from_array(film()[None])
    samples = [
        Captioned(image, "a", {"Edema": 1, "Fracture": 0}),
        Captioned(image, "b", {"edema": -1}),
        Captioned(image, "c", {}),
        Captioned(image, "d", {"Fracture": 0}),
    ]
    wanted = [[1, 0, 0], [-1, 0, 0], [0, 0, 1], [0, 0, 1]]  # edema, fracture, no finding
    np.testing.assert_array_equal(meanings(samples), wanted)


def test_training_sees_moved_films_and_texts_said_otherwise():
    rng = np.random.default_rng(1)
    moved = [cut(warped(film(80, 80), WARP, rng), 64, 56, rng) for _ in range(4)]
    assert all(each.shape == (56, 56) and each.dtype == np.uint8 for each in moved)
    assert len({each.tobytes() for each in moved}) == 4
    text = "a large left pleural effusion is seen above the left hemidiaphragm today"
    said = [reworded(text, rng) for _ in range(40)]
    assert all(set(each.split()) <= set(text.split()) and each for each in said)
    assert any(sorted(each.split()) == sorted(text.split()) and each != text for each in said)
    assert any(len(each.split()) < len(text.split()) for each in said)
    assert reworded("edema", rng) == "edema"
