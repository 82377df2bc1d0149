"""The corrections of an abdomen's masks, on made anatomy: x to the patient's right, y to the front, z to the head."""

import numpy as np
import pytest

from hilum.parts.abdominal_classes import CLASSES, called
from hilum.parts.organ_rules import LUNGS, ONE_PIECE, VEIN, WITHIN, corrected

SHAPE = (40, 30, 40)


def box(*sides: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[tuple(slice(*side) for side in sides)] = True
    return mask


def ask(name: str, **masks: np.ndarray) -> np.ndarray:
    told = {key.replace("_", " "): mask for key, mask in masks.items()}
    return corrected(name, lambda wanted: told.get(wanted, np.zeros(SHAPE, dtype=bool)))


def test_every_rule_is_about_a_class():
    assert {*ONE_PIECE, *WITHIN, *LUNGS, VEIN, *(organ for organs in WITHIN.values() for organ in organs)} <= {*CLASSES}
    untouched = {*CLASSES} - {*ONE_PIECE, *WITHIN, *LUNGS, VEIN}
    assert {CLASSES.index(name) + 1 for name in untouched} == {15, 28, 29, 30, 31, 32}


def test_an_organ_is_its_largest_part_and_corners_connect():
    liver = box((5, 15), (5, 15), (5, 15))
    corner = box((15, 18), (15, 18), (15, 18))
    stray = box((30, 33), (20, 23), (30, 33))
    np.testing.assert_array_equal(ask("liver", liver=liver | corner | stray), liver | corner)


def test_a_tumour_stays_within_its_organ_or_close_to_it():
    kidney, stray = box((5, 15), (5, 15), (5, 15)), box((30, 33), (20, 23), (30, 33))
    near, far = box((14, 17), (8, 10), (8, 10)), box((30, 32), (20, 22), (30, 32))
    found = ask("kidney tumor", left_kidney=kidney | stray, kidney_tumor=near | far)
    np.testing.assert_array_equal(found, near)  # two voxels outside are within the grown organ
    assert not ask("kidney tumor", kidney_tumor=near).any()
    assert ask("liver tumor", liver=box((0, 4), (0, 4), (0, 4)), liver_tumor=box((0, 2), (0, 2), (0, 2))).sum() == 8


def test_a_hole_in_the_organ_is_closed():
    ring = box((5, 16), (5, 16), (5, 16)) & ~box((9, 12), (9, 12), (0, 40))
    core = box((9, 12), (9, 12), (9, 12))
    np.testing.assert_array_equal(ask("liver tumor", liver=ring, liver_tumor=core), core)


def test_other_classes_are_left_as_they_are():
    scattered = np.random.default_rng(0).random(SHAPE) < 0.1
    np.testing.assert_array_equal(ask("hepatic vessel", hepatic_vessel=scattered), scattered)


def test_the_portal_vein_lies_above_the_lowest_slice_of_the_pancreas():
    vein, pancreas = box((10, 12), (10, 12), (5, 30)), box((10, 20), (10, 20), (15, 25))
    stray = box((30, 31), (1, 2), (2, 3))
    found = ask(VEIN, portal_and_splenic_vein=vein, pancreas=pancreas | stray)
    np.testing.assert_array_equal(found, box((10, 12), (10, 12), (15, 30)))
    np.testing.assert_array_equal(ask(VEIN, portal_and_splenic_vein=vein), vein)


@pytest.mark.parametrize(("name", "low"), [("left lung", 2), ("right lung", 25)])
def test_lungs_are_told_apart_by_their_side(name, low):
    """Whatever the channels mixed up: the left lung is the one further to the patient's left."""
    left, right = box((2, 14), (5, 25), (5, 35)), box((25, 38), (5, 25), (5, 35))
    mixed = box((2, 8), (5, 25), (5, 35)) | box((25, 30), (5, 25), (5, 35))
    found = ask(name, left_lung=mixed, right_lung=(left | right) & ~mixed)
    np.testing.assert_array_equal(found, left if low == 2 else right)


def test_lungs_that_hang_together_are_told_apart_by_their_channels():
    left, right = box((2, 20), (5, 25), (5, 35)), box((20, 38), (5, 25), (5, 35))
    stray = box((0, 1), (0, 1), (0, 1))
    np.testing.assert_array_equal(ask("left lung", left_lung=left | stray, right_lung=right), left)
    np.testing.assert_array_equal(ask("right lung", left_lung=left | stray, right_lung=right), right)
    np.testing.assert_array_equal(ask("right lung", right_lung=right), right)


@pytest.mark.parametrize(
    ("label", "classes"),
    [
        ("Liver", ("liver",)),
        ("KIDNEYS", ("right kidney", "left kidney")),
        ("R Kidney", ("right kidney",)),
        ("kidney tumours", ("kidney tumor",)),
        ("Postcava", ("inferior vena cava",)),
        ("Portal Vein and Splenic Vein", ("portal and splenic vein",)),
        ("Celiac Truck", ("celiac trunk",)),
        ("left adrenal", ("left adrenal gland",)),
        ("adrenals", ("right adrenal gland", "left adrenal gland")),
        ("L Femur Head", ("left femur head",)),
        ("femoral heads", ("right femur head", "left femur head")),
        ("gall_bladder", ("gallbladder",)),
        ("hepatic vessels", ("hepatic vessel",)),
        ("pancreas", ("pancreas",)),
        ("unicorn", ()),
        ("left", ()),
        ("left liver", ()),
        ("", ()),
    ],
)
def test_plain_words_mean_classes(label, classes):
    assert called(label) == classes
