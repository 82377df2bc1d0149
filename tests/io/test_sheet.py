"""Sheets: an image alone, and the contact sheet of the demo."""

import itertools
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from grids import answer_on, volume
from PIL import Image as Pillow

from hilum.io import planes
from hilum.io.histogram import bins, histogram, sampled
from hilum.io.panel import plain
from hilum.io.sheet import SheetRow, _panels, _views, contact_sheet, inspect_sheet, picture
from hilum.values.errors import BadInput
from hilum.values.image import Display, from_array
from hilum.values.prompts import Box, Points


def brain(planes_there=30):
    """A bright ball between empty planes, 1 mm voxels."""
    z, y, x = np.indices((planes_there, 40, 36))
    ball = ((z - 12) ** 2 + (y - 20) ** 2 + (x - 18) ** 2 < 81).astype(np.float32) * 100
    return replace(from_array(ball[None], spacing=(1.0, 1.0, 1.0), modality="MR"), display=Display(0.0, 120.0))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_overview_of_a_flipped_array_has_the_same_pictures_to_the_pixel(axis):
    straight, turned = _views(brain()), _views(brain().flipped(axis))
    assert len(straight) == len(turned) == 12
    for (one, _), (other, _) in zip(straight, turned, strict=True):
        assert np.array_equal(plain(one).picture, plain(other).picture)


def test_overview_leaves_out_empty_planes_at_both_ends():
    image = brain()
    there = planes.visible(image, image.section())
    held = np.flatnonzero(image.array[0].any(axis=(1, 2)))
    assert set(there) <= set(held)
    assert len(there) >= 0.75 * len(held)
    flat = from_array(np.zeros((1, 6, 8, 8), np.float32), spacing=(1, 1, 1))
    assert planes.visible(flat, flat.section()) == range(6)


@pytest.mark.parametrize("count", [1, 3, 12, 90])
def test_evenly_chosen_planes_are_symmetric_and_few(count):
    chosen = planes.evenly(range(count), 12)
    assert len(chosen) == min(12, count)
    assert chosen == sorted(set(chosen))
    assert abs(chosen[0] - (count - 1 - chosen[-1])) <= 1


def test_picture_gives_pillows_image():
    shown = picture(brain())
    assert isinstance(shown, Pillow.Image)
    assert shown.mode == "RGB"


def test_whole_numbers_are_counted_each_in_a_bin_of_the_same_width():
    values = np.repeat(np.arange(0, 200, dtype=np.float32), 10)
    image = replace(from_array(values.reshape(1, 40, 50)), display=Display(0.0, 199.0))
    for width in (90, 700):
        counts = np.histogram(values, bins=bins(image, values, width))[0]
        inner = counts[np.flatnonzero(counts)[1:-1]]
        assert np.ptp(inner) == 0


def test_histogram_counts_a_thinned_volume_like_the_whole():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(200, 120, 130)).astype(np.float32)
    thin = sampled(noise)
    assert thin.size < noise.size
    assert abs(thin.mean()) < 0.01
    assert abs(thin.std() - 1) < 0.01


def test_histogram_marks_the_window():
    strip = histogram(brain(), 600)
    assert strip.shape[1] == 600
    marked = np.flatnonzero((strip[60] > 200).all(axis=-1))
    edges = bins(brain(), np.array([0.0, 100.0], dtype=np.float32), 600)
    wanted = [(edge - edges[0]) / (edges[-1] - edges[0]) * 599 for edge in (0.0, 120.0)]
    assert np.abs(marked[[0, -1]] - wanted).max() <= 1


@pytest.mark.parametrize("shape", [(1, 30, 20), (3, 30, 20), (1, 1, 30, 20), (3, 4, 30, 20), (1, 5, 1, 1)])
def test_every_image_has_a_sheet(shape, tmp_path):
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    values[0].flat[0] = np.nan
    image = from_array(np.nan_to_num(values), spacing=(1.0, 1.0, 1.0) if len(shape) == 4 else None)
    path = inspect_sheet(image.with_array(values), tmp_path / "sheet.png")
    with Pillow.open(path) as shown:
        assert min(shown.size) >= 384
    with pytest.raises(BadInput, match="exists"):
        inspect_sheet(image, path)


def rows():
    answer = answer_on(brain(), 1)
    mask = brain().array > 50
    scan = SheetRow(
        "scan.nii.gz", replace(answer, masks=mask), (Points([[18, 20, 9], [1, 1, 9]], [True, False]),), 0.81
    )
    photo = answer_on(from_array(np.random.default_rng(0).integers(0, 255, (3, 60, 90)).astype(np.uint8)), 30)
    return [scan, SheetRow("photo.png", photo, (Box([5, 5], [40, 30]),), 12.3)]


def test_a_row_shows_image_prompt_mask_and_contour_on_the_plane_that_was_asked_about():
    panels = [panel for panel, _ in _panels(rows()[0])]
    assert [panel.title for panel in panels] == [
        "axial · z 9 · image",
        "axial · z 9 · prompt",
        "axial · z 9 · mask",
        "axial · z 9 · contour",
    ]
    for first, second in itertools.pairwise(panels):
        assert not np.array_equal(first.picture, second.picture)


def test_contact_sheet_has_a_line_for_each_row(tmp_path):
    both = contact_sheet(rows(), tmp_path / "both.png", title="hilum demo")
    one = contact_sheet(rows()[:1], tmp_path / "one.png", title="hilum demo")
    with Pillow.open(both) as tall, Pillow.open(one) as short:
        assert tall.size[0] == short.size[0]
        assert tall.size[1] > short.size[1] + 384
    again = contact_sheet(rows(), tmp_path / "again.png", title="hilum demo")
    assert again.read_bytes() == both.read_bytes()


def test_an_empty_answer_still_has_its_row(tmp_path):
    answer = answer_on(volume((4, 20, 24)), 1)
    nothing = SheetRow("scan.nii", replace(answer, masks=np.zeros_like(answer.masks)), (), 0.1)
    assert contact_sheet([nothing], tmp_path / "none.png").exists()


def test_importing_the_sheets_does_not_import_pillow():
    code = "import sys, hilum.io.sheet, hilum.io.overlay; sys.exit('PIL' in sys.modules or 'scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
