"""NIfTI as others write it: two affines, units, scaling, odd types; and the header of our masks."""

import gzip
import json
from importlib import util
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from grids import PROVENANCE, answer_on, picture, volume

from hilum.io.read import read
from hilum.io.write import write
from hilum.values import geometry
from hilum.values.answers import Segmentation
from hilum.values.errors import BadInput

VALUES = np.arange(60, dtype=np.int16).reshape(3, 4, 5)  # (i, j, k)
RAS = np.array([[-0.7, 0, 0, 10], [0, -0.9, 0, -20], [0, 0, 2.5, 5], [0, 0, 0, 1]])


def saved(path, values=VALUES, affine=RAS, *, version=nib.Nifti1Image, **fields):
    """A NIfTI with these header fields, as nibabel writes it; `codes` are (sform, qform)."""
    codes = fields.pop("codes", (1, 1))
    scan = version(values, None)
    scan.set_sform(affine, code=codes[0])
    scan.set_qform(affine, code=codes[1])
    for field, value in fields.items():
        scan.header[field] = value
    nib.save(scan, path)
    return path


def patched(path, at, content):
    """The same file with some bytes of its header replaced."""
    block = bytearray(path.read_bytes())
    block[at : at + len(content)] = content
    path.write_bytes(block)
    return path


def test_the_array_is_transposed_and_never_flipped(tmp_path):
    image = read(saved(tmp_path / "scan.nii"))
    assert np.array_equal(image.array[0], VALUES.transpose(2, 1, 0))
    assert image.array.dtype == np.int16
    assert np.allclose(image.affine, np.diag([-1, -1, 1, 1]) @ RAS)
    assert (image.space, image.source.format, image.source.modality) == ("patient", "nifti", None)


def test_packed_is_the_same_as_plain(tmp_path):
    plain, packed = read(saved(tmp_path / "scan.nii")), read(saved(tmp_path / "scan.nii.gz"))
    assert np.array_equal(plain.array, packed.array)
    assert np.array_equal(plain.affine, packed.affine)


def test_several_gzip_members_are_one_stream(tmp_path):
    whole = saved(tmp_path / "scan.nii").read_bytes()
    (tmp_path / "members.nii.gz").write_bytes(gzip.compress(whole[:400]) + gzip.compress(whole[400:]))
    assert np.array_equal(read(tmp_path / "members.nii.gz").array[0], VALUES.transpose(2, 1, 0))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("version", [nib.Nifti1Image, nib.Nifti2Image])
def test_both_versions_and_byte_orders_are_read(version, order, tmp_path):
    header = version.header_class(endianness=order)
    header.set_data_dtype(np.dtype("i2").newbyteorder(order))
    scan = version(VALUES, RAS, header)
    nib.save(scan, tmp_path / "scan.nii")
    image = read(tmp_path / "scan.nii")
    assert np.array_equal(image.array[0], VALUES.transpose(2, 1, 0))
    assert image.array.dtype.isnative


def test_a_pair_is_read_by_either_name(tmp_path):
    nib.save(nib.Nifti1Pair(VALUES, RAS), tmp_path / "scan.img")
    for name in ("scan.img", "scan.hdr"):
        image = read(tmp_path / name)
        assert np.array_equal(image.array[0], VALUES.transpose(2, 1, 0))
        assert [file.name for file in image.source.files] == ["scan.hdr", "scan.img"]


def test_the_sform_is_preferred_and_disagreement_is_said_with_the_numbers(tmp_path):
    scan = nib.Nifti1Image(VALUES, None)
    moved = RAS.copy()
    moved[0, 3] += 4.0
    scan.set_sform(RAS, code=2)
    scan.set_qform(moved, code=1)
    nib.save(scan, tmp_path / "scan.nii")
    image = read(tmp_path / "scan.nii")
    assert np.allclose(image.affine[:3, 3], [-10, 20, 5])
    (said,) = image.source.notes
    assert "sform (code 2) and the qform (code 1)" in said
    assert "up to 4 mm" in said
    assert "-14, 20, 5" in said


def test_agreeing_affines_are_not_mentioned(tmp_path):
    assert read(saved(tmp_path / "scan.nii")).source.notes == ()


def test_without_sform_the_qform_places_the_scan(tmp_path):
    image = read(saved(tmp_path / "scan.nii", codes=(0, 1)))
    assert np.allclose(image.affine, np.diag([-1, -1, 1, 1]) @ RAS, atol=1e-5)


def test_a_flat_sform_gives_way_to_the_qform(tmp_path):
    path = saved(tmp_path / "scan.nii")
    patched(path, 280, bytes(48))  # srow_x, srow_y, srow_z
    image = read(path)
    assert np.allclose(image.affine[:3, 3], [-10, 20, 5])
    assert "does not span space" in image.source.notes[0]


def test_without_either_code_the_user_must_state_the_spacing(tmp_path):
    path = saved(tmp_path / "scan.nii", codes=(0, 0), pixdim=[1, 0.7, 0.9, 2.5, 1, 1, 1, 1])
    with pytest.raises(BadInput, match=r"codes are 0; its pixdim reads 0\.7, 0\.9, 2\.5\).*--spacing x,y,z"):
        read(path)
    image = read(path, spacing=(0.7, 0.9, 2.5))
    assert image.spacing == (0.7, 0.9, 2.5)
    assert "0.7, 0.9, 2.5 mm was stated by the user" in image.source.notes[0]


def test_another_spacing_than_the_files_is_refused(tmp_path):
    path = saved(tmp_path / "scan.nii")
    assert read(path, spacing=(0.7, 0.9, 2.5)).source.notes == ()
    with pytest.raises(BadInput, match=r"its spacing is 0\.7, 0\.9, 2\.5 mm; --spacing 1, 1, 1 contradicts it"):
        read(path, spacing=(1.0, 1.0, 1.0))


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (1.0, 1.0, 0.0), (1.0, 1.0, float("nan")), (1.0, -1.0, 1.0)])
def test_a_stated_spacing_is_three_lengths(spacing, tmp_path):
    with pytest.raises(BadInput, match="--spacing wants 3 lengths"):
        read(saved(tmp_path / "scan.nii", codes=(0, 0)), spacing=spacing)


def test_no_scaling_keeps_the_type_and_scaling_makes_float32(tmp_path):
    for slope, inter in ((1.0, 0.0), (0.0, 7.0), (np.nan, 0.0)):
        path = patched(saved(tmp_path / "scan.nii"), 112, np.array([slope, inter], dtype="<f4").tobytes())
        assert read(path).array.dtype == np.int16
    image = read(patched(saved(tmp_path / "scan.nii"), 112, np.array([0.5, -1024], dtype="<f4").tobytes()))
    assert image.array.dtype == np.float32
    assert np.array_equal(image.array[0], VALUES.transpose(2, 1, 0) * 0.5 - 1024)


def test_one_of_several_volumes_is_picked(tmp_path):
    path = saved(tmp_path / "scan.nii.gz", np.stack([VALUES, VALUES + 100, VALUES + 200], axis=-1))
    with pytest.raises(BadInput, match=r"holds 3 frames: choose one with --frame 0 to 2"):
        read(path)
    with pytest.raises(BadInput, match=r"--frame 3 is none"):
        read(path, frame=3)
    with pytest.raises(BadInput, match=r"--frame -1 is none"):
        read(path, frame=-1)
    image = read(path, frame=2)
    assert np.array_equal(image.array[0], VALUES.transpose(2, 1, 0) + 200)
    assert image.source.notes == ("frame 2 of 3",)


def test_one_volume_needs_no_frame(tmp_path):
    path = saved(tmp_path / "scan.nii", VALUES[..., None])
    assert read(path).grid == read(path, frame=0).grid == (5, 4, 3)


@pytest.mark.parametrize("channels", [3, 4])
def test_colour_is_three_channels(channels, tmp_path):
    colour = np.dtype([(letter, "u1") for letter in "RGBA"[:channels]])
    values = np.zeros((2, 3, 4), dtype=colour)
    values["G"] = np.arange(24).reshape(2, 3, 4)
    image = read(saved(tmp_path / "scan.nii", values))
    assert image.array.shape == (3, 4, 3, 2)
    assert np.array_equal(image.array[1], values["G"].transpose(2, 1, 0))
    assert image.source.notes == (("the alpha channel was left out",) if channels == 4 else ())


def test_a_single_slice_has_one_plane_and_spans_space(tmp_path):
    flat = RAS.copy()
    flat[:3, 2] = 0.0
    path = saved(tmp_path / "scan.nii", VALUES[..., 0], codes=(1, 0))
    patched(path, 280, flat[:3].astype("<f4").tobytes())
    image = read(path)
    assert image.array.shape == (1, 1, 4, 3)
    assert image.spacing == pytest.approx((0.7, 0.9, 1.0))


@pytest.mark.parametrize(("unit", "factor", "word"), [("meter", 1000.0, "metres"), ("micron", 0.001, "microns")])
def test_other_units_become_millimetres(unit, factor, word, tmp_path):
    scan = nib.Nifti1Image(VALUES, RAS)
    scan.header.set_xyzt_units(unit)
    nib.save(scan, tmp_path / "scan.nii")
    image = read(tmp_path / "scan.nii")
    assert image.spacing == pytest.approx(tuple(factor * np.array([0.7, 0.9, 2.5])))
    assert word in image.source.notes[0]
    out = write(answer_on(image), tmp_path / "mask.nii")
    assert np.array_equal(nib.load(out).affine, nib.load(tmp_path / "scan.nii").affine)


def test_values_that_are_not_finite_are_replaced_and_counted(tmp_path):
    values = VALUES.astype(np.float32)
    values[0, 0, 0], values[0, 0, 1], values[0, 0, 2] = np.nan, -np.inf, np.inf
    image = read(saved(tmp_path / "scan.nii", values))
    assert image.array[0, :3, 0, 0].tolist() == [3.0, 3.0, 59.0]
    assert image.source.notes == ("3 values are not finite and were replaced by the finite minimum 3",)


def test_nothing_finite_is_refused(tmp_path):
    with pytest.raises(BadInput, match="no finite value"):
        read(saved(tmp_path / "scan.nii", np.full((2, 2, 2), np.nan, dtype=np.float32)))


@pytest.mark.parametrize("code", [0, 1, 32, 1536, 1792, 2048, 999])  # unknown, bits, complex, 128-bit, nonsense
def test_types_beyond_computing_are_refused_by_name(code, tmp_path):
    with pytest.raises(BadInput, match=f"holds values of NIfTI type {code}"):
        read(patched(saved(tmp_path / "scan.nii"), 70, np.array([code], dtype="<i2").tobytes()))


def test_the_window_is_the_files_or_robust(tmp_path):
    said = read(saved(tmp_path / "scan.nii", cal_min=5, cal_max=50)).display
    assert (said.low, said.high) == (5.0, 50.0)
    values = np.zeros((10, 10, 10), dtype=np.float32)
    values[:5] = 1.0
    values[0, 0, 0] = 1e6  # one hot voxel
    assert read(saved(tmp_path / "scan.nii", values)).display.high == 1.0


def test_an_analyze_file_is_refused(tmp_path):
    nib.save(nib.AnalyzeImage(VALUES, RAS), tmp_path / "scan.img")
    with pytest.raises(BadInput, match="cannot tell left from right"):
        read(tmp_path / "scan.img")


def test_a_header_that_points_far_away_is_refused(tmp_path):
    for offset in (1e12, 100.0, -1.0, np.nan, np.inf):
        path = patched(saved(tmp_path / "scan.nii"), 108, np.array([offset], dtype="<f4").tobytes())
        with pytest.raises(BadInput, match="values begin at byte"):
            read(path)


def test_a_lying_size_is_refused_before_memory_is_taken(tmp_path):
    path = patched(saved(tmp_path / "scan.nii"), 42, np.array([3000, 3000, 100], dtype="<i2").tobytes())
    with pytest.raises(BadInput, match=r"promises 1,800,000,352 bytes"):
        read(path)
    packed = tmp_path / "scan.nii.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(BadInput, match="cannot hold them"):
        read(packed)


def test_a_gzip_bomb_is_read_no_further_than_its_header_says(tmp_path, monkeypatch):
    whole = saved(tmp_path / "scan.nii").read_bytes()
    packed = tmp_path / "bomb.nii.gz"
    packed.write_bytes(gzip.compress(whole + bytes(30_000_000), 9))
    taken = []
    inflate = gzip.GzipFile.read
    monkeypatch.setattr(gzip.GzipFile, "read", lambda self, size=-1: taken.append(size) or inflate(self, size))
    assert read(packed).grid == (5, 4, 3)
    assert min(taken) >= 0
    assert sum(taken) < 300_000


def test_a_damaged_stream_is_noticed_by_its_checksum(tmp_path):
    path = saved(tmp_path / "scan.nii.gz")
    block = bytearray(path.read_bytes())
    block[-8] ^= 1  # the stored CRC
    path.write_bytes(block)
    with pytest.raises(BadInput, match="damaged"):
        read(path)


def test_the_detail_keeps_what_writing_needs(tmp_path):
    path = saved(tmp_path / "scan.nii", codes=(4, 1))
    detail = read(path).source.detail
    assert detail["header"] == path.read_bytes()[:348]
    assert (detail["sform_code"], detail["qform_code"], detail["xyzt_units"]) == (4, 1, 0)
    assert np.allclose(detail["sform"], RAS)
    assert np.allclose(detail["qform"], RAS, atol=1e-5)


def test_a_mask_names_its_labels_and_is_the_same_bytes_each_time(tmp_path):
    answer = answer_on(volume(), 3)
    first = write(answer, tmp_path / "one.nii.gz").read_bytes()
    assert first == write(answer, tmp_path / "two.nii.gz").read_bytes()
    loaded = nib.load(tmp_path / "one.nii.gz")
    assert loaded.get_data_dtype() == np.uint8
    assert loaded.header.get_intent()[0] == "label"
    comment = json.loads(loaded.header.extensions[0].get_content())
    assert comment["labels"] == {"1": "object 1", "2": "object 2", "3": "object 3"}
    assert comment["notice"] == "research use only, not a medical device"


def test_one_object_is_zero_and_one(tmp_path):
    loaded = nib.load(write(answer_on(volume(), 1), tmp_path / "mask.nii"))
    assert np.unique(np.asarray(loaded.dataobj)).tolist() == [0, 1]


def test_many_objects_take_sixteen_bits(tmp_path):
    loaded = nib.load(write(answer_on(volume((10, 10, 10)), 300), tmp_path / "mask.nii"))
    assert loaded.get_data_dtype() == np.uint16
    assert np.asarray(loaded.dataobj).max() == 300


def test_a_picture_is_no_nifti(tmp_path):
    with pytest.raises(BadInput, match=r"write \.png"):
        write(answer_on(picture()), tmp_path / "mask.nii")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(util.find_spec("nilearn") is None, reason="nilearn is not installed")
def test_a_real_brain_keeps_its_voxels_and_its_place(tmp_path):
    folder = Path(util.find_spec("nilearn").submodule_search_locations[0]) / "datasets" / "data"
    path = next(folder.glob("mni_icbm152_t1*.nii.gz"))
    image, loaded = read(path), nib.load(path)
    i, j, k = 40, 50, 30
    assert image.array[0, k, j, i] == pytest.approx(float(loaded.dataobj[i, j, k]), rel=1e-6)
    there = geometry.apply(image.affine, np.array([[i, j, k]], dtype=float))[0] * [-1, -1, 1]
    assert np.allclose(there, nib.affines.apply_affine(loaded.affine, [i, j, k]))
    bright = Segmentation(image.array > image.display.high / 2, ("bright",), (1.0,), image, PROVENANCE)
    out = nib.load(write(bright, tmp_path / "mask.nii"))
    assert np.array_equal(out.affine, loaded.affine)
    assert out.dataobj[i, j, k] == bright.masks[0, k, j, i]
