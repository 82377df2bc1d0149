"""Labelled cases as people keep them, and how they are split."""

import numpy as np
import pytest
from PIL import Image

from hilum.train import pairs
from hilum.train.samples import masks_of, read_cases
from hilum.values.errors import BadInput


def picture(path, value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.zeros((24, 30), np.uint8)
    array[4:16, 5:20] = value
    Image.fromarray(array).save(path)


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("images/a.png", "labels/a.png"),
        ("images/a.png", "masks/a_mask.png"),
        ("site/images/a.png", "site/labels/a.png"),
        ("a.png", "a_seg.png"),
    ],
)
def test_pairs_are_found_as_people_keep_them(tmp_path, image, label):
    picture(tmp_path / image, 200)
    picture(tmp_path / label, 1)
    (found,) = pairs.pairs(tmp_path)
    assert found.case == "a"
    assert found.image_file == tmp_path / image
    assert found.label_file == tmp_path / label


def test_what_is_no_folder_of_pairs_is_a_sentence(tmp_path):
    with pytest.raises(BadInput, match="no such folder"):
        pairs.pairs(tmp_path / "none")
    with pytest.raises(BadInput, match=r"no pairs in .* wanted images/NAME\.png"):
        pairs.pairs(tmp_path)
    picture(tmp_path / "images/a.png", 200)
    with pytest.raises(BadInput, match=r"1 images have no label map, such as a\.png"):
        pairs.pairs(tmp_path)


def test_patients_stay_on_one_side(tmp_path):
    for name in ("p1__1", "p1__2", "p2__1", "p3__1", "p3__2"):
        picture(tmp_path / "images" / f"{name}.png", 200)
        picture(tmp_path / "labels" / f"{name}.png", 1)
    for seed in range(6):
        train, held = pairs.split(pairs.pairs(tmp_path), 0.4, seed=seed)
        assert train
        assert held
        assert not {one.patient for one in train} & {one.patient for one in held}
        assert len(train) + len(held) == 5
    with pytest.raises(BadInput, match="1 patient is too few"):
        pairs.split(train[:1], 0.2, seed=0)


def test_samples_are_the_objects_or_the_targets(tmp_path):
    plane = np.zeros((20, 20), int)
    plane[2:8, 2:8], plane[10:18, 10:18], plane[0, 0] = 1, 3, 2
    assert masks_of(plane, ()).sum((1, 2)).tolist() == [36, 64]
    assert masks_of(plane, ("one", "two", "three")).sum((1, 2)).tolist() == [36, 1, 64]
    picture(tmp_path / "images/a.png", 200)
    picture(tmp_path / "labels/a.png", 3)
    with pytest.raises(BadInput, match="label 3 is none of 2 targets"):
        read_cases(pairs.pairs(tmp_path), ("liver", "spleen"))
    (case,) = read_cases(pairs.pairs(tmp_path))
    assert case.samples[0].masks.shape == (1, 24, 30)
