"""DICOM SEG out: reread by another library, it covers the same voxels in the patient; nothing is resampled."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest

import phantoms
from hilum.io.dicom import read_dicom
from hilum.io.segment_codes import property_of
from hilum.io.segmentation import write_seg
from hilum.values import geometry
from hilum.values.answers import Segmentation
from hilum.values.errors import BadInput
from hilum.values.image import Image, from_array
from hilum.values.provenance import Provenance

PROVENANCE = Provenance("scout", "scout.pocket", "0123456789abcdef", version="0.1", prompts=({"kind": "box"},))
SOURCES = ("axial", "oblique", "tilted", "sagittal", "backwards", "enhanced", "phase")


def source(folder: Path, kind: str) -> Image:
    """A series of one kind; "backwards" numbers its files against space, "phase" is the second of three volumes."""
    if kind == "enhanced":
        phantoms.enhanced_ct(folder / "ct.dcm", "tilted")
        return read_dicom(folder / "ct.dcm")
    if kind == "phase":
        phantoms.enhanced_ct(folder / "ct.dcm", "oblique", phases=3)
        return read_dicom(folder / "ct.dcm", frame=1)
    phantoms.ct_series(folder / "ct", "oblique" if kind == "backwards" else kind, backwards=kind == "backwards")
    return read_dicom(folder / "ct")


def answer(
    image: Image, *masks: np.ndarray, names: tuple[str, ...] = ("liver", "lesion", "left kidney")
) -> Segmentation:
    stacked = np.stack(masks or [image.array[0] > 200])
    return Segmentation(stacked, names[: len(stacked)], (0.9,) * len(stacked), image, PROVENANCE)


def written(folder: Path, given: Segmentation, **how) -> tuple[Path, highdicom.seg.Segmentation]:
    path = folder / "mask.dcm"
    write_seg(given, path, **how)
    return path, highdicom.seg.segread(path)


def covered(seg: highdicom.seg.Segmentation, segment: int) -> np.ndarray:
    """Centres in LPS mm (n, 3) of the voxels that a SEG marks, from each frame's own place in the file."""
    shared = seg.SharedFunctionalGroupsSequence[0]
    row, column = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, dtype=float).reshape(2, 3)
    down, across = np.array(shared.PixelMeasuresSequence[0].PixelSpacing, dtype=float)
    points = []
    for group, frame in zip(seg.PerFrameFunctionalGroupsSequence, np.atleast_3d(frames(seg)), strict=True):
        number = group.get("SegmentIdentificationSequence", shared.get("SegmentIdentificationSequence"))
        if number[0].ReferencedSegmentNumber == segment:
            position = np.array(group.PlanePositionSequence[0].ImagePositionPatient, dtype=float)
            y, x = np.nonzero(frame)
            points.append(position + x[:, None] * across * row + y[:, None] * down * column)
    return np.concatenate(points)


def frames(seg: highdicom.seg.Segmentation) -> np.ndarray:
    return seg.pixel_array.reshape(seg.NumberOfFrames, seg.Rows, seg.Columns)


def centres(image: Image, mask: np.ndarray) -> np.ndarray:
    """Centres in LPS mm of a mask's voxels by the image's affine."""
    z, y, x = np.nonzero(mask)
    return geometry.apply(image.affine, np.stack([x, y, z], axis=1))


def same_points(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two clouds are one to 1e-3 mm, in whatever order."""
    ordered = [cloud[np.lexsort(np.round(cloud, 2).T)] for cloud in (first, second)]
    return len(first) == len(second) and bool(np.abs(ordered[0] - ordered[1]).max() < 1e-3)


@pytest.mark.parametrize("kind", SOURCES)
def test_a_seg_covers_the_same_voxels_in_the_patient(tmp_path, kind):
    image = source(tmp_path, kind)
    bright, body = image.array[0] > 300, image.array[0] > 40
    assert (bright != bright[::-1]).any()
    for second in (body, body & ~bright):  # overlapping and not: they are handed over in two ways
        _, seg = written(tmp_path, answer(image, bright, second))
        assert same_points(covered(seg, 1), centres(image, bright))
        assert same_points(covered(seg, 2), centres(image, second))


def test_the_comparison_notices_a_flipped_sign(tmp_path):
    image = source(tmp_path, "tilted")
    bright = image.array[0] > 300
    _, seg = written(tmp_path, answer(image, bright))
    flipped = centres(image, bright) * [1.0, -1.0, 1.0]
    assert not same_points(covered(seg, 1), flipped)
    assert not same_points(covered(seg, 1), centres(image, bright)[:-1])


@pytest.mark.parametrize("kind", SOURCES)
def test_each_frame_refers_to_the_source_slice_at_its_place(tmp_path, kind):
    image = source(tmp_path, kind)
    _, seg = written(tmp_path, answer(image))
    files = {str(dataset.SOPInstanceUID): dataset for dataset in map(pydicom.dcmread, image.source.files)}
    for group in seg.PerFrameFunctionalGroupsSequence:
        reference = group.DerivationImageSequence[0].SourceImageSequence[0]
        dataset = files[str(reference.ReferencedSOPInstanceUID)]
        if "PerFrameFunctionalGroupsSequence" in dataset:
            place = dataset.PerFrameFunctionalGroupsSequence[int(reference.ReferencedFrameNumber) - 1]
            assert place.FrameContentSequence[0].TemporalPositionIndex == (2 if kind == "phase" else 1)
            dataset = place.PlanePositionSequence[0]
        assert group.PlanePositionSequence[0].ImagePositionPatient == dataset.ImagePositionPatient
    referred = seg.ReferencedSeriesSequence[0]
    assert referred.SeriesInstanceUID == next(iter(files.values())).SeriesInstanceUID
    assert {str(item.ReferencedSOPInstanceUID) for item in referred.ReferencedInstanceSequence} == set(files)


def test_highdicom_gives_the_masks_back_by_source_instance(tmp_path):
    image = source(tmp_path, "tilted")
    bright, body = image.array[0] > 300, image.array[0] > 40
    _, seg = written(tmp_path, answer(image, bright, body))
    uids = [pydicom.dcmread(file).SOPInstanceUID for file in image.source.files]
    back = seg.get_pixels_by_source_instance(uids, assert_missing_frames_are_empty=True)
    np.testing.assert_array_equal(np.moveaxis(back, -1, 0).astype(bool), np.stack([bright, body]))


def test_objects_that_overlap_are_both_kept_and_the_file_says_so(tmp_path):
    image = source(tmp_path, "axial")
    bright, body = image.array[0] > 300, image.array[0] > 40
    assert (bright & body).any()
    _, seg = written(tmp_path, answer(image, bright, body))
    assert seg.SegmentsOverlap == "YES"
    _, apart = written(tmp_path, answer(image, bright, body & ~bright))
    assert apart.SegmentsOverlap == "NO"
    assert same_points(covered(apart, 2), centres(image, body & ~bright))


def test_the_ohif_way_keeps_the_empty_frames(tmp_path):
    image = source(tmp_path, "oblique")
    mask = np.zeros(image.grid, dtype=bool)
    mask[4, 10:20, 10:20] = True
    _, plain = written(tmp_path, answer(image, mask))
    _, full = written(tmp_path, answer(image, mask), compat="ohif")
    assert (plain.NumberOfFrames, full.NumberOfFrames) == (1, phantoms.SLICES)
    assert same_points(covered(full, 1), centres(image, mask))


def test_an_object_of_no_voxels_is_still_described(tmp_path):
    image = source(tmp_path, "axial")
    nothing = np.zeros(image.grid, dtype=bool)
    _, seg = written(tmp_path, answer(image, image.array[0] > 300, nothing))
    assert [segment.SegmentLabel for segment in seg.SegmentSequence] == ["liver", "lesion"]
    _, empty = written(tmp_path, answer(image, nothing))
    assert not empty.pixel_array.any()


def test_segments_say_who_made_them_how_and_what_they_are(tmp_path):
    image = source(tmp_path, "axial")
    path, seg = written(tmp_path, answer(image, *[image.array[0] > 300] * 3))
    liver, lesion, kidney = seg.SegmentSequence
    assert liver.SegmentAlgorithmType == "SEMIAUTOMATIC"
    assert liver.SegmentationAlgorithmIdentificationSequence[0].AlgorithmName == "scout"
    assert liver.SegmentationAlgorithmIdentificationSequence[0].AlgorithmVersion == "0.1"
    assert liver.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Liver"
    assert lesion.SegmentedPropertyCategoryCodeSequence[0].CodeMeaning == "Morphologically Abnormal Structure"
    side = kidney.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence[0]
    assert side.CodeMeaning == "Left"
    assert "Research use only" in seg.ContentDescription
    assert "Research use only" in seg.SeriesDescription
    assert path.read_bytes()[:132] == bytes(128) + b"DICM"


def test_an_answer_to_words_alone_is_automatic(tmp_path):
    image = source(tmp_path, "axial")
    said = Provenance("scout", "scout.pocket", prompts=({"kind": "labels"},))
    _, seg = written(tmp_path, Segmentation((image.array > 300), ("spleen",), (1.0,), image, said))
    assert seg.SegmentSequence[0].SegmentAlgorithmType == "AUTOMATIC"


@pytest.mark.parametrize(
    ("name", "category", "kind"),
    [
        ("liver", "Anatomical Structure", "Liver"),
        ("Right_Kidneys", "Anatomical Structure", "Kidney"),
        ("tumour", "Morphologically Abnormal Structure", "Neoplasm"),
        ("kidney tumor", "Morphologically Abnormal Structure", "Neoplasm"),
        ("left femur head", "Anatomical Structure", "Head of Femur"),
        ("intestine", "Anatomical Structure", "Intestine"),
        ("object 1", "Tissue", "Tissue"),
        ("", "Tissue", "Tissue"),
    ],
)
def test_names_find_their_codes(name, category, kind):
    known = property_of(name)
    assert (known.category.meaning, known.type.meaning) == (category, kind)


def test_names_of_any_letters_and_length_are_written(tmp_path):
    image = source(tmp_path, "axial")
    mask = image.array[0] > 300
    names = ("Läsion\\links\n", "x" * 300, "")
    _, seg = written(tmp_path, Segmentation(np.stack([mask] * 3), names, (1.0,) * 3, image, PROVENANCE))
    assert [segment.SegmentLabel for segment in seg.SegmentSequence] == ["L?sion/links?", "x" * 64, "object 3"]


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small.dcm", "examples_overlay.dcm", "examples_palette.dcm"])
def test_single_pictures_get_a_seg_with_or_without_a_place(tmp_path, name):
    image = read_dicom(Path(pydicom.data.get_testdata_file(name)))
    mask = image.array[0] > np.median(image.array[0])
    _, seg = written(tmp_path, Segmentation(mask[None], ("bone",), (1.0,), image, PROVENANCE))
    np.testing.assert_array_equal(frames(seg)[0].astype(bool), mask)
    if image.space == "patient":
        assert same_points(covered(seg, 1), centres(image, mask[None]))


def test_one_slice_of_a_series_gets_a_seg_at_its_place(tmp_path):
    whole = source(tmp_path, "tilted")
    image = read_dicom(whole.source.files[4])
    mask = image.array[0] > 300
    _, seg = written(tmp_path, Segmentation(mask[None], ("bone",), (1.0,), image, PROVENANCE))
    full = np.zeros(whole.grid, dtype=bool)
    full[4] = mask
    assert same_points(covered(seg, 1), centres(whole, full))


def test_a_radiograph_gets_a_seg(tmp_path):
    stored = np.arange(1200, dtype=np.uint16).reshape(30, 40)
    phantoms.secondary_capture(tmp_path / "dx.dcm", stored, Modality="DX", ImagerPixelSpacing=[0.2, 0.2])
    image = read_dicom(tmp_path / "dx.dcm")
    _, seg = written(tmp_path, answer(image, image.array[0] > 600))
    np.testing.assert_array_equal(frames(seg)[0].astype(bool), stored > 600)


def test_deidentified_sources_without_patient_elements_are_taken(tmp_path):
    gone = dict.fromkeys((*phantoms.CANARY, "PatientSex", "StudyID", "SliceThickness"))
    phantoms.ct_series(tmp_path / "ct", "oblique", **gone)
    image = read_dicom(tmp_path / "ct")
    _, seg = written(tmp_path, answer(image))
    assert same_points(covered(seg, 1), centres(image, image.array[0] > 200))


def refusal(given: Segmentation, path: Path) -> str:
    with pytest.raises(BadInput) as caught:
        write_seg(given, path)
    assert not path.exists()
    return str(caught.value)


def test_what_has_no_dicom_source_is_refused(tmp_path):
    image = from_array(np.zeros((1, 3, 4, 5), dtype=np.float32), spacing=(1.0, 1.0, 1.0))
    says = refusal(answer(image, np.zeros(image.grid, dtype=bool)), tmp_path / "mask.dcm")
    assert says == "a DICOM SEG refers to DICOM images, and this image is array: write .nii.gz instead."


def test_sources_that_are_gone_are_named(tmp_path):
    image = source(tmp_path, "axial")
    image.source.files[3].unlink()
    says = refusal(answer(image), tmp_path / "mask.dcm")
    assert says.startswith(f"the source file {image.source.files[3].name} is gone")


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_grid_that_is_not_that_of_the_files_is_refused(tmp_path, axis):
    """Flipped together with its affine an image is the same thing in space, but no longer frame by frame."""
    image = source(tmp_path, "tilted").flipped(axis)
    assert "away from its source" in refusal(answer(image), tmp_path / "mask.dcm")


def test_a_plane_cut_out_of_a_volume_is_refused(tmp_path):
    image = source(tmp_path, "axial")
    cut = image.plane(image.section(), 3)
    assert "has not the grid of its source files" in refusal(answer(cut), tmp_path / "mask.dcm")


def test_a_frame_of_a_film_is_refused(tmp_path):
    phantoms.secondary_capture(tmp_path / "film.dcm", np.arange(60, dtype=np.uint8).reshape(4, 3, 5))
    image = read_dicom(tmp_path / "film.dcm", frame=1)
    assert "not on a frame of a film" in refusal(answer(image), tmp_path / "mask.dcm")
    stated = read_dicom(tmp_path / "film.dcm", spacing=(1.0, 1.0, 1.0))
    assert "no position in the patient" in refusal(answer(stated), tmp_path / "mask.dcm")


def faults(path: Path) -> list[str]:
    said = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False, timeout=60)
    return [line for line in said.stderr.splitlines() if line.startswith(("Error", "Warning"))]


needs_dciodvfy = pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (dicom3tools) is not installed")


@needs_dciodvfy
@pytest.mark.parametrize("kind", SOURCES)
def test_dciodvfy_has_nothing_to_say_of_phantoms_and_segs(tmp_path, kind):
    image = source(tmp_path, kind)
    assert [fault for file in image.source.files[:2] for fault in faults(file)] == []
    bright, body = image.array[0] > 300, image.array[0] > 40
    for compat in ("standard", "ohif"):
        path, _ = written(tmp_path, answer(image, bright, body), compat=compat)
        assert faults(path) == []


@needs_dciodvfy
def test_dciodvfy_finds_no_error_in_the_seg_of_a_radiograph(tmp_path):
    phantoms.secondary_capture(tmp_path / "dx.dcm", np.arange(1200, dtype=np.uint16).reshape(30, 40), Modality="DX")
    path, _ = written(tmp_path, answer(read_dicom(tmp_path / "dx.dcm"), np.eye(30, 40, dtype=bool)))
    assert faults(path) == []


@needs_dciodvfy
def test_dciodvfy_can_find_fault(tmp_path):
    image = source(tmp_path, "axial")
    path, seg = written(tmp_path, answer(image))
    del seg.SegmentSequence
    seg.save_as(path)
    assert any("SegmentSequence" in fault for fault in faults(path))
