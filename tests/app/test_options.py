"""Prompts from text: each mistake is one sentence that repeats what was typed and shows what is wanted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.app import options
from hilum.app.command import spoken
from hilum.values.errors import BadInput


def test_a_box_is_two_corners_with_or_without_a_name():
    plain, named = options.box("12,40:200,180"), options.box("liver=40,52,18:81,90,18")
    assert plain.low.tolist() == [12, 40]
    assert plain.high.tolist() == [200, 180]
    assert plain.name is None
    assert named.name == "liver"
    assert named.low.tolist() == [40, 52, 18]


def test_spaces_within_quotes_and_typographic_minus_are_understood():
    assert options.box(" 1, 2 : 3 , 4 ").high.tolist() == [3, 4]
    assert options.point("−3.5,2").at.tolist() == [[-3.5, 2]]


def test_negative_millimetres_may_run_either_way():
    box = options.box("-10,-20,5:-30,0,-5", "patient")
    assert box.space == "patient"
    assert box.low.tolist() == [-10, -20, 5]


def test_points_say_whether_they_lie_inside():
    assert options.point("1,2").inside.tolist() == [True]
    assert options.point_out("a=1,2").inside.tolist() == [False]
    assert options.point_out("a=1,2").name == "a"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("40,52", "two corners"),
        ("1,2:3,4:5,6", "two corners"),
        ("40,52,18:81,90", "3 and 2 numbers"),
        ("81,52:40,90", "swapped along x; write the lower one first, 40,52:81,90"),
        ("81,90:40,52", "swapped along x and y"),
        ("a,2:3,4", "a is not a number"),
        ("1,,2:3,4,5", "nothing is not a number"),
        ("1,2,:3,4,5", "after the last comma"),
        ("1:2", "1 is not a place"),
        (":", "nothing is not a place"),
        ("nan,1:2,3", "nan is not a finite number"),
        ("1,inf:2,3", "inf is not a finite number"),
        ("=1,2:3,4", "a name is wanted"),
        ("", "two corners"),
    ],
)
def test_a_wrong_box_is_one_sentence(text, said):
    with pytest.raises(BadInput) as caught:
        options.box(text)
    assert said in str(caught.value)
    assert f"--box {text}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_colon_in_a_point_is_told_from_a_wrong_number():
    with pytest.raises(BadInput, match="a colon belongs to a --box"):
        options.point("1,2:3,4")


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=2, max_size=3))
def test_every_finite_place_comes_back_as_it_was_typed(place):
    text = ",".join(map(repr, place))
    assert np.array_equal(options.point(text).at, [place])


@given(st.text(max_size=30))
def test_any_text_is_a_box_or_a_sentence(text):
    said = "--box"
    try:
        options.box(text)
    except BadInput as error:
        said = str(error)
    assert said.startswith("--box")


def test_labels_are_names_between_commas():
    assert options.labels("liver, spleen,").names == ("liver", "spleen")
    with pytest.raises(BadInput, match="at least one name"):
        options.labels(" , ")


@pytest.mark.parametrize(
    ("text", "count"), [("8GB", 8 << 30), ("512MiB", 512 << 20), ("2e9", 2_000_000_000), ("1k", 1024)]
)
def test_a_size_of_memory_is_read_as_people_write_it(text, count):
    assert options.memory(text) == count


@pytest.mark.parametrize("text", ["lots", "", "-1GB", "0", "infGB", "nan"])
def test_a_wrong_size_is_a_sentence(text):
    with pytest.raises(BadInput, match="--max-memory"):
        options.memory(text)


@pytest.mark.parametrize("text", ["0,1,1", "1", "1,2,3,4", "-1,1,1"])
def test_a_spacing_is_two_or_three_lengths_above_nothing(text):
    with pytest.raises(BadInput, match="--spacing"):
        options.spacing(text)


def test_prompts_keep_the_order_in_which_they_were_said():
    words = [
        "scout",
        "x.png",
        "--box",
        "1,2:3,4",
        "--point=5,6",
        "-o",
        "y.png",
        "--point-out",
        "7,8",
        "--",
        "--box",
        "9",
    ]
    assert list(spoken(words)) == [("--box", "1,2:3,4"), ("--point", "5,6"), ("--point-out", "7,8")]
