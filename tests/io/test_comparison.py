"""The sheet of a comparison: bars as long as what they say, blocks beside the picture."""

import numpy as np

from hilum.io.comparison import BAR, HEAD, LINE, MOST, NAME, block, comparison_sheet
from hilum.io.ink import colour_of
from hilum.values.answers import Scores
from hilum.values.image import from_array
from hilum.values.provenance import Provenance


def scores(*values: float, probability: np.ndarray | None = None) -> Scores:
    names = tuple(f"label {number}" for number in range(len(values)))
    return Scores(names, np.array(values) - 0.1, np.array(values), Provenance("x", "x.a"), probability)


def lengths(canvas: np.ndarray, count: int) -> list[int]:
    """Pixels in its own colour along the middle of each bar."""
    rows = [canvas[HEAD + LINE * number + LINE // 2, NAME : NAME + BAR] for number in range(count)]
    return [int((row == colour_of(number)).all(axis=-1).sum()) for number, row in enumerate(rows)]


def test_a_bar_is_as_long_as_the_softmax_or_the_probability_where_there_is_one():
    assert lengths(block(scores(0.0, 0.5, 1.0)), 3) == [0, BAR // 2, BAR]
    assert lengths(block(scores(0.0, 0.5, probability=np.array([0.25, 0.75]))), 2) == [BAR // 4, 3 * BAR // 4]
    assert block(scores(*[0.1] * (MOST + 9))).shape[0] == HEAD + LINE * (MOST + 1)


def test_the_sheet_grows_with_the_systems(tmp_path):
    image = from_array(np.arange(1200.0).reshape(1, 30, 40))
    from PIL import Image as Pillow

    sizes = []
    for count in (1, 9):
        path = comparison_sheet(image, [scores(0.2, 0.8, 0.1)] * count, tmp_path / f"{count}.png", title="film.png")
        with Pillow.open(path) as sheet:
            sizes.append(sheet.size)
    assert sizes[1][0] > sizes[0][0]  # in two columns
