"""napari's reader: values as they are, and an affine that is exact in napari's order of axes."""

import re
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image as Pillow

import hilum
from hilum.app.napari.layers import affine, image_layer
from hilum.app.napari.reader import reader
from hilum.values.errors import BadInput
from phantoms import ct_affine, ct_series, secondary_capture

ROOT = Path(__file__).parents[3]
KINDS = ("axial", "tilted", "oblique", "sagittal")


def opened(path):
    """The one layer that napari would be given."""
    read = reader(str(path))
    assert read is not None
    (layer,) = read(str(path))
    return layer


@pytest.mark.parametrize("kind", KINDS)
def test_a_series_keeps_its_geometry_to_the_bit(tmp_path, kind):
    ct_series(tmp_path / "ct", kind)
    image = hilum.read(tmp_path / "ct")
    data, told, what = opened(tmp_path / "ct")
    assert (what, told["name"], told["rgb"]) == ("image", "ct", False)
    assert np.array_equal(data, image.array[0])
    assert data.dtype == image.array.dtype
    for z, y, x in ((0, 0, 0), (9, 31, 39), (3, 7, 20)):
        world = told["affine"] @ [z, y, x, 1.0]
        assert np.allclose(world[2::-1], (image.affine @ [x, y, z, 1.0])[:3], rtol=0, atol=1e-12)
    assert sorted(told["affine"].ravel()) == sorted(image.affine.ravel())  # only their order changed
    assert np.allclose(np.sort(told["affine"].ravel()), np.sort(ct_affine(kind).ravel()), atol=1e-9)
    assert (told["axis_labels"], told["units"]) == (("z", "y", "x"), ("millimeter",) * 3)


def test_nifti_lies_where_nibabel_says(tmp_path):
    rng = np.random.default_rng(0)
    matrix = np.eye(4)
    matrix[:3] = rng.normal(size=(3, 4)) * 3
    nibabel.Nifti1Image(rng.integers(0, 99, (4, 5, 6), dtype=np.int16), matrix).to_filename(tmp_path / "a.nii.gz")
    scan = nibabel.load(tmp_path / "a.nii.gz")
    data, told, _ = opened(tmp_path / "a.nii.gz")
    for i, j, k in ((0, 0, 0), (3, 4, 5), (1, 2, 3)):
        right, anterior, superior = (scan.affine @ [i, j, k, 1.0])[:3]
        assert np.allclose((told["affine"] @ [k, j, i, 1.0])[:3], [superior, -anterior, -right], atol=1e-5)
        assert data[k, j, i] == scan.dataobj[i, j, k]


def test_a_lone_slice_keeps_its_place(tmp_path):
    ct_series(tmp_path, "oblique")
    path = min(tmp_path.iterdir())
    image = hilum.read(path)
    data, told, _ = opened(path)
    assert data.shape == (1, *image.grid)
    assert np.array_equal(told["affine"], affine(image))
    assert told["affine"].shape == (4, 4)


def test_a_picture_without_a_place_has_two_axes_and_colours_stay_colours(tmp_path):
    secondary_capture(tmp_path / "grey.dcm", np.arange(20, dtype=np.uint8).reshape(4, 5), PixelSpacing=["0.5", "0.25"])
    data, told, _ = opened(tmp_path / "grey.dcm")
    assert (data.shape, told["axis_labels"]) == ((4, 5), ("y", "x"))
    assert np.array_equal(told["affine"], np.diag([0.5, 0.25, 1.0]))
    colours = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    Pillow.fromarray(colours).save(tmp_path / "photo.png")
    data, told, _ = image_layer(hilum.read(tmp_path / "photo.png"), "photo")
    assert np.array_equal(data, colours)
    assert told["rgb"]
    assert "units" not in told


def test_the_window_and_inversion_are_how_it_is_shown(tmp_path):
    ct_series(tmp_path / "ct", "axial")
    _, told, _ = opened(tmp_path / "ct")
    assert (told["contrast_limits"], told["colormap"]) == ((-150.0, 249.0), "gray")
    stored = np.arange(20, dtype=np.uint8).reshape(4, 5)
    secondary_capture(tmp_path / "film.dcm", stored, PhotometricInterpretation="MONOCHROME1")
    assert opened(tmp_path / "film.dcm")[1]["colormap"] == "gray_r"


def test_several_files_are_one_series(tmp_path):
    ct_series(tmp_path, "tilted")
    paths = [str(path) for path in tmp_path.iterdir()]
    (layer,) = reader(paths)(paths)
    assert np.array_equal(layer[0], hilum.read(tmp_path).array[0])


def test_what_is_not_ours_is_left_to_others(tmp_path):
    (tmp_path / "photos").mkdir()
    Pillow.new("L", (4, 4)).save(tmp_path / "photos" / "a.png")
    (tmp_path / "words.nii").write_bytes(b"")
    for path in ("photos", "photos/a.png", "words.nii", "nothing.dcm"):
        assert reader(str(tmp_path / path)) is None
    assert reader([]) is None


def test_what_is_broken_is_a_sentence(tmp_path):
    ct_series(tmp_path / "ct")
    ct_series(tmp_path / "ct" / "more", "axial", SeriesInstanceUID="1.2.3")
    with pytest.raises(BadInput, match="holds 2 series"):
        opened(tmp_path / "ct")


def test_the_manifest_names_functions_that_are_there():
    """npe2 itself validates it in tests/clients/test_napari.py: its pytest plug-in warns at its import."""
    text = (ROOT / "hilum" / "app" / "napari" / "napari.yaml").read_text(encoding="utf-8")
    named = re.findall(r"python_name: (\S+):(\S+)", text)
    assert len(named) == 2
    for module, name in named:
        source = (ROOT / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")
        assert re.search(rf"^(?:def|class) {name}\(", source, re.M)


def test_the_package_says_where_its_manifest_is():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    module, _, file = project["entry-points"]["napari.manifest"]["hilum"].partition(":")
    assert (ROOT / module.replace(".", "/") / file).is_file()
