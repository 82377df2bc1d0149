"""DICOM in: the affine is the truth, slices are sorted by where they lie, and no volume is guessed."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.uid import generate_uid
from scipy.spatial.transform import Rotation

import phantoms
from hilum.io.dicom import read_dicom
from hilum.values import geometry
from hilum.values.errors import BadInput

KINDS = ("tilted", "oblique", "axial", "sagittal")


def slices(folder: Path) -> list[tuple[Path, pydicom.FileDataset]]:
    """Files of a folder from the lowest to the highest along their normal."""
    read = [(path, pydicom.dcmread(path)) for path in sorted(folder.glob("*.dcm"))]
    return sorted(read, key=lambda each: height(each[1]))


def height(dataset: pydicom.Dataset) -> float:
    row, column = np.array(dataset.ImageOrientationPatient, dtype=float).reshape(2, 3)
    return float(np.cross(row, column) @ np.array(dataset.ImagePositionPatient, dtype=float))


def refusal(*paths: Path, **how) -> str:
    """The one sentence with which reading is refused; it never names the patient or a folder."""
    with pytest.raises(BadInput) as caught:
        read_dicom(paths[0] if len(paths) == 1 else paths, **how)
    says = str(caught.value)
    assert not any(value in says for value in phantoms.CANARY.values())
    assert "\n" not in says
    assert str(paths[0].parent) not in says
    return says


def oriented(kind: str) -> np.ndarray:
    """The truth with slices counted along the normal, as the reader counts them."""
    affine = phantoms.ct_affine(kind)
    if np.cross(affine[:3, 0], affine[:3, 1]) @ affine[:3, 2] > 0:
        return affine
    flipped = affine.copy()
    flipped[:3, 3] += affine[:3, 2] * (phantoms.SLICES - 1)
    flipped[:3, 2] *= -1
    return flipped


@pytest.mark.parametrize("kind", KINDS)
def test_the_affine_of_a_series_is_the_truth(tmp_path, kind):
    phantoms.ct_series(tmp_path / "ct", kind)
    image = read_dicom(tmp_path / "ct")
    np.testing.assert_allclose(image.affine, oriented(kind), atol=1e-6)
    np.testing.assert_array_equal(image.array[0], phantoms.ct_values(kind))
    assert (image.space, image.source.modality, image.source.unit) == ("patient", "CT", "HU")


@pytest.mark.parametrize("kind", KINDS)
def test_the_affine_of_an_enhanced_file_is_the_truth_though_its_frames_run_backwards(tmp_path, kind):
    phantoms.enhanced_ct(tmp_path / "ct.dcm", kind)
    image = read_dicom(tmp_path / "ct.dcm")
    np.testing.assert_allclose(image.affine, oriented(kind), atol=1e-6)
    np.testing.assert_array_equal(image.array[0], phantoms.ct_values(kind))
    assert image.source.detail["frames"] == tuple((0, k) for k in reversed(range(phantoms.SLICES)))


@pytest.mark.parametrize("kind", KINDS)
def test_every_slice_lies_where_its_own_header_says(tmp_path, kind):
    phantoms.ct_series(tmp_path / "ct", kind)
    image = read_dicom(tmp_path / "ct")
    for k, (path, dataset) in enumerate(slices(tmp_path / "ct")):
        row, column = np.array(dataset.ImageOrientationPatient, dtype=float).reshape(2, 3)
        down, across = np.array(dataset.PixelSpacing, dtype=float)
        position = np.array(dataset.ImagePositionPatient, dtype=float)
        said = [position, position + row * across * 39, position + column * down * 31]
        voxels = np.array([[0, 0, k], [39, 0, k], [0, 31, k]])
        np.testing.assert_allclose(geometry.apply(image.affine, voxels), said, atol=1e-6)
        np.testing.assert_array_equal(image.array[0, k], dataset.pixel_array.astype(int) - 1024)
        assert image.source.files[k] == path


def by_simpleitk(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    names = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
    image = SimpleITK.ReadImage(names)
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return SimpleITK.GetArrayFromImage(image), affine


@pytest.mark.parametrize("kind", ["axial", "oblique", "sagittal"])
def test_simpleitk_agrees_where_it_can_represent_the_grid(tmp_path, kind):
    phantoms.ct_series(tmp_path / "ct", kind)
    image = read_dicom(tmp_path / "ct")
    array, affine = by_simpleitk(tmp_path / "ct")
    np.testing.assert_array_equal(image.array[0], array)
    np.testing.assert_allclose(image.affine, affine, atol=1e-4)


def test_the_tilt_that_simpleitk_loses_is_kept_and_noted(tmp_path):
    phantoms.ct_series(tmp_path / "ct", "tilted")
    image = read_dicom(tmp_path / "ct")
    _, affine = by_simpleitk(tmp_path / "ct")
    last = np.array([[0.0, 0.0, 9.0]])
    assert np.linalg.norm(geometry.apply(affine, last) - geometry.apply(image.affine, last)) > 7.0
    assert any("20.00 degrees" in note for note in image.source.notes)


def test_the_order_is_that_of_space_not_of_names_or_numbers(tmp_path):
    for seed in range(3):
        phantoms.ct_series(tmp_path / str(seed), "oblique", seed=seed, backwards=seed == 1)
        image = read_dicom(tmp_path / str(seed))
        np.testing.assert_array_equal(image.array[0], phantoms.ct_values("oblique", seed))


def test_a_list_of_files_reads_like_their_folder(tmp_path):
    phantoms.ct_series(tmp_path / "ct")
    listed = read_dicom(sorted((tmp_path / "ct").iterdir()))
    whole = read_dicom(tmp_path / "ct")
    np.testing.assert_array_equal(listed.array, whole.array)
    assert listed.source.sha256 == whole.source.sha256


def test_the_hash_is_that_of_the_files_in_slice_order(tmp_path):
    phantoms.ct_series(tmp_path / "ct")
    expected = hashlib.sha256(b"".join(path.read_bytes() for path, _ in slices(tmp_path / "ct"))).hexdigest()
    assert read_dicom(tmp_path / "ct").source.sha256 == expected


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_grid_that_dicom_can_say_is_read_exactly(tmp_path, data):
    numbers = st.floats(-1.0, 1.0, width=32)
    turn = Rotation.from_euler("xyz", [3 * data.draw(numbers) for _ in range(3)]).as_matrix()
    steps = [data.draw(st.floats(0.0625, 6.0, width=32)) for _ in range(3)]
    affine = np.eye(4)
    affine[:3, :2] = turn[:, :2] * steps[:2]
    slant = turn @ [data.draw(numbers), data.draw(numbers), data.draw(st.sampled_from([-1.0, 1.0]))]
    affine[:3, 2] = slant * steps[2]
    affine[:3, 3] = [300 * data.draw(numbers) for _ in range(3)]
    count = data.draw(st.integers(2, 4))
    shutil.rmtree(tmp_path / "ct", ignore_errors=True)
    (tmp_path / "ct").mkdir()
    for k, name in enumerate(data.draw(st.permutations(range(count)))):
        dataset = phantoms.ct_slice("axial", k)
        phantoms.place(dataset, affine, k)
        dataset.save_as(tmp_path / "ct" / f"{name}.dcm", enforce_file_format=True)
    image = read_dicom(tmp_path / "ct")
    order = range(count) if slant @ turn[:, 2] > 0 else range(count - 1, -1, -1)
    for k, true in enumerate(order):
        corners = np.array([[0, 0, 0], [39, 0, 0], [0, 31, 0]])
        here, there = corners + np.array([0, 0, k]), corners + np.array([0, 0, true])
        np.testing.assert_allclose(geometry.apply(image.affine, here), geometry.apply(affine, there), atol=1e-6)
        np.testing.assert_array_equal(image.array[0, k], phantoms.ct_values("axial")[true])


def test_one_file_of_a_series_is_one_slice_with_its_place_in_the_patient(tmp_path):
    phantoms.ct_series(tmp_path / "ct", "oblique")
    path, dataset = slices(tmp_path / "ct")[4]
    image = read_dicom(path)
    assert image.array.shape == (1, phantoms.ROWS, phantoms.COLUMNS)
    np.testing.assert_allclose(image.affine[:3, 3], np.array(dataset.ImagePositionPatient, dtype=float), atol=1e-9)
    np.testing.assert_allclose(image.affine[:3, :3], phantoms.ct_affine("oblique")[:3, :3], atol=1e-6)
    assert any("is one slice" in note for note in image.source.notes)
    assert "numbered 0; there is no frame 3" in refusal(path, frame=3)


def test_a_missing_slice_is_an_error_that_says_where(tmp_path):
    phantoms.ct_series(tmp_path / "ct", "oblique")
    files = slices(tmp_path / "ct")
    files[4][0].unlink()
    says = refusal(tmp_path / "ct")
    assert f"1 slice missing between {files[3][0].name} at " in says
    assert files[5][0].name in says
    files[5][0].unlink()
    assert "2 slices missing" in refusal(tmp_path / "ct")


def test_slices_at_one_place_are_an_error_that_names_the_files(tmp_path):
    phantoms.ct_series(tmp_path / "ct", "tilted")
    path, dataset = slices(tmp_path / "ct")[2]
    dataset.SOPInstanceUID = generate_uid(entropy_srcs=["again"])
    dataset.save_as(tmp_path / "ct" / "again.dcm")
    says = refusal(tmp_path / "ct")
    assert "same position" in says
    assert "again.dcm" in says
    assert path.name in says


def test_uneven_steps_are_an_error_with_the_numbers(tmp_path):
    phantoms.ct_series(tmp_path / "ct", "axial")
    path, dataset = slices(tmp_path / "ct")[6]
    dataset.ImagePositionPatient = [*phantoms.ORIGIN[:2], float(dataset.ImagePositionPatient[2]) + 0.1]
    dataset.save_as(path)
    says = refusal(tmp_path / "ct")
    assert "not evenly spaced: 2.600 mm" in says
    assert "the median step is 2.500 mm" in says
    assert path.name in says


def test_steps_within_one_percent_are_read(tmp_path):
    phantoms.ct_series(tmp_path / "ct", "axial")
    path, dataset = slices(tmp_path / "ct")[6]
    dataset.ImagePositionPatient = [*phantoms.ORIGIN[:2], float(dataset.ImagePositionPatient[2]) + 0.02]
    dataset.save_as(path)
    np.testing.assert_allclose(read_dicom(tmp_path / "ct").affine, phantoms.ct_affine("axial"), atol=1e-9)


def test_a_slice_beside_the_line_of_the_others_is_an_error(tmp_path):
    phantoms.ct_series(tmp_path / "ct", "axial")
    path, dataset = slices(tmp_path / "ct")[6]
    dataset.ImagePositionPatient = [-9.0, *map(float, dataset.ImagePositionPatient[1:])]
    dataset.save_as(path)
    assert f"{path.name} lies 1.000 mm off the line" in refusal(tmp_path / "ct")


def test_a_localiser_within_the_series_is_refused_with_the_groups(tmp_path):
    phantoms.ct_series(tmp_path / "ct", "axial")
    scout = phantoms.ct_slice("sagittal", 0)
    scout.SeriesInstanceUID = slices(tmp_path / "ct")[0][1].SeriesInstanceUID
    scout.FrameOfReferenceUID = slices(tmp_path / "ct")[0][1].FrameOfReferenceUID
    scout.save_as(tmp_path / "ct" / "scout.dcm", enforce_file_format=True)
    says = refusal(tmp_path / "ct")
    assert "10 along head-feet" in says
    assert "1 along left-right (scout.dcm)" in says


def test_pictures_of_other_size_within_the_series_are_refused_with_the_groups(tmp_path):
    phantoms.ct_series(tmp_path / "ct", "axial")
    path, dataset = slices(tmp_path / "ct")[3]
    dataset.Rows, dataset.PixelData = 16, dataset.PixelData[: 16 * 40 * 2]
    dataset.save_as(path)
    says = refusal(tmp_path / "ct")
    assert f"1 of 40 x 16 ({path.name})" in says
    assert "9 of 40 x 32" in says


def test_several_series_are_refused_with_a_list_from_which_one_is_picked(tmp_path):
    phantoms.ct_series(tmp_path / "all" / "a", "axial", SeriesNumber=7)
    phantoms.ct_series(tmp_path / "all" / "b", "oblique", SeriesNumber=2, Modality="PT")
    says = refusal(tmp_path / "all")
    uid = slices(tmp_path / "all" / "a")[0][1].SeriesInstanceUID
    assert "holds 2 series, pick one with --series: 1: PT, 10 slices of 40 x 32" in says
    assert f"2: CT, 10 slices of 40 x 32, UID ends {uid[-12:]}" in says
    for pick in ("2", uid, uid[-6:]):
        image = read_dicom(tmp_path / "all", series=pick)
        np.testing.assert_array_equal(image.array[0], phantoms.ct_values("axial"))
    assert "no series of all fits --series 3" in refusal(tmp_path / "all", series="3")


def test_what_is_no_image_is_left_out_and_counted(tmp_path):
    phantoms.ct_series(tmp_path / "ct", "axial")
    (tmp_path / "ct" / "notes.txt").write_text("for Dr. No")
    (tmp_path / "ct" / "empty").touch()
    (tmp_path / "ct" / ".hidden").write_text("x")
    report = phantoms.ct_slice("axial", 0)
    phantoms.put(report, {"Rows": None, "Columns": None, "PixelData": None})
    report.SOPClassUID = report.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"
    report.save_as(tmp_path / "ct" / "report.dcm", enforce_file_format=True)
    notes = read_dicom(tmp_path / "ct").source.notes
    assert "2 files left out that are not DICOM" in notes
    assert "left out as no images: 1 Basic Text SR" in notes


def test_a_dicomdir_is_never_followed(tmp_path):
    phantoms.ct_series(tmp_path / "ct", "axial")
    (tmp_path / "ct" / "DICOMDIR").write_bytes(bytes(128) + b"DICM" + b"\xff" * 40)
    assert read_dicom(tmp_path / "ct").array.shape[1] == phantoms.SLICES


def test_folders_without_images_are_refused(tmp_path):
    (tmp_path / "none").mkdir()
    assert refusal(tmp_path / "none") == "none holds no DICOM image."
    assert refusal(tmp_path / "gone.dcm") == "no such file: gone.dcm."


def test_phases_of_an_enhanced_file_are_picked_by_frame(tmp_path):
    phantoms.enhanced_ct(tmp_path / "ct.dcm", "axial", phases=3)
    says = refusal(tmp_path / "ct.dcm")
    assert (
        "3 volumes told apart by TemporalPositionIndex (10 slices in the first): pick one with --frame 0 to 2" in says
    )
    for phase in range(3):
        image = read_dicom(tmp_path / "ct.dcm", frame=phase)
        np.testing.assert_array_equal(image.array[0], phantoms.ct_values("axial") + 100 * phase)
    assert "holds 3 volumes, numbered from 0; there is no frame 3" in refusal(tmp_path / "ct.dcm", frame=3)


def test_volumes_of_a_classic_series_at_the_same_places_are_picked_by_frame(tmp_path):
    for phase, intercept in ((1, "-1024"), (2, "-1000")):
        phantoms.ct_series(
            tmp_path / "ct" / str(phase), "axial", TemporalPositionIdentifier=phase, RescaleIntercept=intercept
        )
    assert "2 volumes told apart by TemporalPositionIdentifier" in refusal(tmp_path / "ct")
    later = read_dicom(tmp_path / "ct", frame=1)
    np.testing.assert_array_equal(later.array[0], phantoms.ct_values("axial") + 24)
    assert "volume 1 of 2, told apart by TemporalPositionIdentifier" in later.source.notes


def test_an_interrupted_last_phase_is_refused_not_guessed(tmp_path):
    for phase in (1, 2):
        phantoms.ct_series(tmp_path / "ct" / str(phase), "axial", TemporalPositionIdentifier=phase)
    slices(tmp_path / "ct" / "2")[-1][0].unlink()
    assert "same position" in refusal(tmp_path / "ct")


def test_a_volume_without_pixel_spacing_waits_for_the_users_statement(tmp_path):
    phantoms.ct_series(tmp_path / "ct", "axial", PixelSpacing=None)
    assert "say --spacing x,y in mm" in refusal(tmp_path / "ct")
    image = read_dicom(tmp_path / "ct", spacing=(0.9, 0.7))
    np.testing.assert_allclose(image.affine, phantoms.ct_affine("axial"), atol=1e-9)
    assert "the user stated the pixel spacing 0.9 x 0.7 mm" in image.source.notes


def test_a_statement_against_the_file_is_refused(tmp_path):
    phantoms.ct_series(tmp_path / "ct", "axial")
    assert "states its own spacing" in refusal(tmp_path / "ct", spacing=(1.0, 1.0))
    assert "--spacing wants 2 or 3 lengths" in refusal(tmp_path / "ct", spacing=(1.0, -1.0))


def test_slices_without_positions_make_no_volume(tmp_path):
    phantoms.ct_series(tmp_path / "ct", "axial", ImagePositionPatient=None)
    assert "10 pictures without positions, which make no volume" in refusal(tmp_path / "ct")
    phantoms.ct_series(tmp_path / "other", "axial")
    path, dataset = slices(tmp_path / "other")[0]
    del dataset.ImagePositionPatient
    dataset.save_as(path)
    assert "1 of 10 slices have no position" in refusal(tmp_path / "other")


def test_directions_that_are_no_directions_are_refused(tmp_path):
    phantoms.ct_series(tmp_path / "ct", "axial", ImageOrientationPatient=[1, 0, 0, 1, 0, 0])
    assert "not two perpendicular directions" in refusal(tmp_path / "ct")


def test_frames_of_a_film_are_pictures_until_the_user_states_a_volume(tmp_path):
    film = np.arange(4 * 3 * 5, dtype=np.uint8).reshape(4, 3, 5)
    phantoms.secondary_capture(tmp_path / "film.dcm", film)
    assert "4 frames without positions, which make no volume: pick one with --frame 0 to 3" in refusal(
        tmp_path / "film.dcm"
    )
    picture = read_dicom(tmp_path / "film.dcm", frame=2)
    np.testing.assert_array_equal(picture.array, film[None, 2])
    assert (picture.space, picture.spacing) == ("pixel", None)
    assert "there is no frame 4" in refusal(tmp_path / "film.dcm", frame=4)
    volume = read_dicom(tmp_path / "film.dcm", spacing=(1.0, 2.0, 3.0))
    np.testing.assert_array_equal(volume.array, film[None])
    assert volume.spacing == (1.0, 2.0, 3.0)
    assert any("orientation is unknown" in note for note in volume.source.notes)


def test_a_radiograph_keeps_its_spacing_and_says_when_it_is_the_detectors(tmp_path):
    stored = np.arange(12, dtype=np.uint16).reshape(3, 4)
    phantoms.secondary_capture(tmp_path / "dx.dcm", stored, Modality="DX", ImagerPixelSpacing=[0.2, 0.1])
    image = read_dicom(tmp_path / "dx.dcm")
    assert (image.space, image.spacing) == ("plane", (0.1, 0.2))
    assert any("at the detector" in note for note in image.source.notes)
    phantoms.secondary_capture(
        tmp_path / "dx.dcm", stored, Modality="DX", ImagerPixelSpacing=[0.2, 0.1], PixelSpacing=[0.18, 0.09]
    )
    calibrated = read_dicom(tmp_path / "dx.dcm")
    assert (calibrated.spacing, calibrated.source.notes) == ((0.09, 0.18), ())


def test_notes_and_values_never_repeat_the_patient(tmp_path):
    phantoms.ct_series(tmp_path / "ct", "tilted", ImageComments="Canary^Yellow")
    source = read_dicom(tmp_path / "ct").source
    said = " ".join((*source.notes, str(dict(source.detail))))
    assert not any(value in said for value in phantoms.CANARY.values())
