"""napari itself, on a virtual screen: it finds the plug-in, reads a folder to the bit, draws, asks, saves."""

import json
import os
import subprocess
from pathlib import Path

import nibabel
import numpy as np
import pytest

from phantoms import ct_affine, ct_series

SESSION = Path(__file__).with_name("napari_session.py")


@pytest.fixture(scope="module")
def napari(unmodified) -> Path:
    """The folder of napari's own environment, which sees hilum's packages."""
    return unmodified("napari") / "bin"


def test_npe2_finds_the_manifest_valid(napari):
    done = subprocess.run([napari / "npe2", "validate", "hilum"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Manifest for 'hilum' valid" in done.stdout


@pytest.fixture(scope="module")
def seen(napari, program, tmp_path_factory) -> dict:
    """What the session saw, of a tilted series."""
    screen, place = program("xvfb-run", package="xvfb"), tmp_path_factory.mktemp("napari")
    ct_series(place / "ct", "tilted")
    command = [screen, "-a", "-s", "-screen 0 1280x800x24", napari / "python", SESSION, place / "ct", place]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "HOME": str(place)})
    assert done.returncode == 0, done.stderr[-3000:]
    return {**json.loads(done.stdout.splitlines()[-1]), "place": place}


def test_values_and_geometry_arrive_to_the_bit(seen):
    assert seen["values"]
    assert seen["affine"]
    assert seen["units"] == ["millimeter"] * 3


def test_a_box_and_a_click_give_the_librarys_own_mask(seen):
    assert seen["voxels"] > 0
    assert seen["same_mask"]
    assert seen["mask_affine"]
    assert "Research use only" in seen["words"]


def test_what_is_not_taken_is_said_in_the_widget(seen):
    assert "scout takes" in seen["refused"]


def test_the_saved_mask_lies_where_the_series_does(seen):
    saved = nibabel.load(seen["place"] / "mask.nii.gz")
    assert np.allclose(saved.affine, np.diag([-1, -1, 1, 1]) @ ct_affine("tilted"), atol=1e-4)
    assert int(saved.get_fdata().sum()) == seen["voxels"]
    assert (seen["place"] / "napari.png").stat().st_size > 10_000
