"""DICOM in: values are modality values whatever the bits, tables, colours and codecs; windows only show them."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLSLossless,
    RLELossless,
)

import phantoms
from hilum.io import dicom_codestream
from hilum.io.dicom import read_dicom
from hilum.values.errors import BadInput, Failed, TooLarge
from hilum.values.image import Display, Image

RAMP = np.arange(12, dtype=np.uint16).reshape(3, 4)
COLOURS = np.random.default_rng(1).integers(0, 256, (6, 8, 3), dtype=np.uint8)
RGB = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}


def picture(folder: Path, stored: np.ndarray, **tags) -> Image:
    phantoms.secondary_capture(folder / "picture.dcm", stored, **tags)
    return read_dicom(folder / "picture.dcm")


def items(**attributes) -> list[Dataset]:
    dataset = Dataset()
    phantoms.put(dataset, attributes)
    return [dataset]


def test_slope_and_intercept_give_modality_values(tmp_path):
    image = picture(tmp_path, RAMP, RescaleSlope="0.5", RescaleIntercept="-3")
    assert image.array.dtype == np.float32
    np.testing.assert_array_equal(image.array[0], RAMP * 0.5 - 3)


def test_each_file_of_a_series_has_its_own_slope(tmp_path):
    phantoms.ct_series(tmp_path / "pt", "axial")
    for path in (tmp_path / "pt").iterdir():
        dataset = pydicom.dcmread(path)
        dataset.RescaleSlope = f"{1 + int(dataset.InstanceNumber) / 8}"
        dataset.save_as(path)
    stored = phantoms.ct_values("axial") + 1024.0
    slopes = 1 + np.arange(1, 11)[:, None, None] / 8
    np.testing.assert_allclose(read_dicom(tmp_path / "pt").array[0], stored * slopes - 1024, rtol=1e-6)


@pytest.mark.parametrize(
    ("stored", "tags", "kind"),
    [
        (RAMP.astype(np.uint8), {}, np.uint8),
        (RAMP, {"BitsStored": 12, "HighBit": 11, "RescaleSlope": "1", "RescaleIntercept": "-1024"}, np.int16),
        (RAMP, {}, np.float32),
        (RAMP.astype(np.int16) - 5, {}, np.int16),
        (RAMP.astype(np.int16) - 5, {"RescaleSlope": "1", "RescaleIntercept": "-1024"}, np.float32),
        (RAMP.astype(np.uint32), {}, np.float32),
    ],
)
def test_the_type_is_the_narrowest_that_cannot_overflow(tmp_path, stored, tags, kind):
    image = picture(tmp_path, stored, **tags)
    assert image.array.dtype == kind
    np.testing.assert_array_equal(image.array[0], stored.astype(float) + float(tags.get("RescaleIntercept", 0)))


def test_bits_beside_the_stored_ones_are_cleared(tmp_path):
    """Ten bits stored in bits 4 to 13; what old scanners hid in the others is no pixel."""
    values = np.array([[0, 1, 511, 1023]], dtype=np.uint16)
    rubbish = np.array([[0x000F, 0xC000, 0xC00F, 0x4005]], dtype=np.uint16)
    image = picture(tmp_path, (values << 4) | rubbish, BitsStored=10, HighBit=13)
    np.testing.assert_array_equal(image.array[0], values)


def test_the_sign_bit_is_the_highest_stored_one(tmp_path):
    values = np.array([[-2048, -1, 0, 2047]], dtype=np.int16)
    without_sign = (values & 0x0FFF).astype(np.uint16)
    image = picture(tmp_path, without_sign, BitsStored=12, HighBit=11, PixelRepresentation=1)
    np.testing.assert_array_equal(image.array[0], values)


def test_a_modality_lut_is_looked_up_and_held_at_its_ends(tmp_path):
    table = items(LUTDescriptor=[4, 3, 16], LUTData=[100, 200, 50, 900], ModalityLUTType="US")
    table[0]["LUTData"].VR = "US"
    table[0]["LUTDescriptor"].VR = "US"
    image = picture(tmp_path, RAMP, ModalityLUTSequence=table)
    expected = np.array([100, 100, 100, 100, 200, 50, 900, 900, 900, 900, 900, 900]).reshape(3, 4)
    np.testing.assert_array_equal(image.array[0], expected)


def test_monochrome1_keeps_its_values_and_is_shown_inverted(tmp_path):
    image = picture(tmp_path, RAMP, PhotometricInterpretation="MONOCHROME1", WindowCenter="6", WindowWidth="12")
    np.testing.assert_array_equal(image.array[0], RAMP)
    assert image.display.inverted
    shown = image.shown()[..., 0]
    assert shown[0, 0] > shown[-1, -1]


def palette(entries: np.ndarray) -> dict:
    tags = {"PhotometricInterpretation": "PALETTE COLOR"}
    for place, colour in enumerate(("Red", "Green", "Blue")):
        tags[f"{colour}PaletteColorLookupTableDescriptor"] = [len(entries), 0, 16]
        tags[f"{colour}PaletteColorLookupTableData"] = (entries[:, place].astype("<u2") * 257).tobytes()
    return tags


def test_a_palette_becomes_rgb(tmp_path):
    entries = np.array([[0, 0, 0], [255, 0, 0], [0, 128, 0], [7, 8, 9]], dtype=np.uint8)
    stored = np.array([[0, 1, 2], [3, 9, 1]], dtype=np.uint8)  # 9 lies beyond the table
    image = picture(tmp_path, stored, **palette(entries))
    np.testing.assert_array_equal(image.array, np.moveaxis(entries[np.minimum(stored, 3)], -1, 0))
    assert image.display == Display(0.0, 255.0)


def test_a_palette_of_a_big_endian_file_is_read_the_same(tmp_path):
    entries = np.random.default_rng(4).integers(0, 256, (256, 3), dtype=np.uint8)
    stored = np.arange(48, dtype=np.uint8).reshape(6, 8)
    dataset = phantoms.secondary_capture(tmp_path / "little.dcm", stored, **palette(entries))
    dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    for colour in ("Red", "Green", "Blue"):
        table = dataset[f"{colour}PaletteColorLookupTableData"]
        table.value = np.frombuffer(table.value, "<u2").astype(">u2").tobytes()
    dataset.set_original_encoding(False, False, None)
    dataset.save_as(tmp_path / "big.dcm", enforce_file_format=True)
    big = read_dicom(tmp_path / "big.dcm")
    np.testing.assert_array_equal(big.array, np.moveaxis(entries[stored], -1, 0))


def test_colours_are_read_in_either_arrangement(tmp_path):
    image = picture(tmp_path, COLOURS, **RGB)
    np.testing.assert_array_equal(image.array, np.moveaxis(COLOURS, -1, 0))
    planes = np.moveaxis(COLOURS, -1, 0)
    phantoms.secondary_capture(tmp_path / "planes.dcm", COLOURS, **{**RGB, "PlanarConfiguration": 1})
    dataset = pydicom.dcmread(tmp_path / "planes.dcm")
    dataset.PixelData = planes.tobytes()
    dataset.save_as(tmp_path / "planes.dcm")
    np.testing.assert_array_equal(read_dicom(tmp_path / "planes.dcm").array, planes)


def test_ybr_becomes_rgb(tmp_path):
    from pydicom.pixels import convert_color_space

    ybr = convert_color_space(COLOURS, "RGB", "YBR_FULL")
    image = picture(tmp_path, ybr, **{**RGB, "PhotometricInterpretation": "YBR_FULL"})
    assert np.abs(image.array.astype(int) - np.moveaxis(COLOURS, -1, 0)).max() <= 2


def test_sixteen_bit_colours_are_scaled_to_eight_and_the_note_says_so(tmp_path):
    image = picture(tmp_path, COLOURS.astype(np.uint16) * 257, **RGB)
    np.testing.assert_array_equal(image.array, np.moveaxis(COLOURS, -1, 0))
    assert "colours of 16 bits were scaled to 8" in image.source.notes


def test_overlays_are_left_out():
    path = Path(pydicom.data.get_testdata_file("examples_overlay.dcm"))
    dataset = pydicom.dcmread(path)
    assert (0x6000, 0x3000) in dataset
    np.testing.assert_array_equal(read_dicom(path).array[0], dataset.pixel_array)


@pytest.mark.parametrize(
    ("tags", "window"),
    [
        ({"WindowCenter": "8", "WindowWidth": "9"}, (3.5, 11.5)),  # PS3.3 C.11.2.1.2: c - 0.5 -+ (w - 1) / 2
        ({"WindowCenter": ["8", "1"], "WindowWidth": ["9", "2"]}, (3.5, 11.5)),
        ({"WindowCenter": "8", "WindowWidth": "8", "VOILUTFunction": "LINEAR_EXACT"}, (4.0, 12.0)),
        ({"VOILUTSequence": [items(LUTDescriptor=[8, 2, 8], LUTData=list(range(8)))[0]]}, (2.0, 9.0)),
    ],
)
def test_the_first_window_of_the_file_is_the_display(tmp_path, tags, window):
    for lut in tags.get("VOILUTSequence", ()):
        lut["LUTDescriptor"].VR = lut["LUTData"].VR = "US"
    display = picture(tmp_path, RAMP, **tags).display
    assert (display.low, display.high) == window


def test_a_ct_without_window_is_shown_as_soft_tissue(tmp_path):
    phantoms.ct_series(tmp_path / "ct", "axial", WindowCenter=None, WindowWidth=None)
    assert read_dicom(tmp_path / "ct").display == Display(-160.0, 240.0)


def test_without_a_window_percentiles_leave_the_padding_out(tmp_path):
    stored = np.full((40, 40), -2000, dtype=np.int16)
    stored[10:30] = np.arange(800).reshape(20, 40)
    plain = picture(tmp_path, stored).display
    padded = picture(tmp_path, stored, PixelPaddingValue=-2000).display
    assert plain.low == -2000
    assert 0 <= padded.low < 10
    assert 790 < padded.high < 800


def test_a_window_that_shows_next_to_nothing_is_passed_over_with_a_note(tmp_path):
    image = picture(tmp_path, RAMP, WindowCenter="5000", WindowWidth="10000")
    assert image.display.high < 20
    assert any("shows next to nothing" in note for note in image.source.notes)


def test_an_image_of_one_value_has_a_display(tmp_path):
    assert picture(tmp_path, np.full((3, 4), 7, dtype=np.uint8)).display == Display(7.0, 8.0)


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless])
@pytest.mark.parametrize("kind", [np.uint16, np.int16])
def test_lossless_codecs_give_the_same_values_signed_or_not(tmp_path, syntax, kind):
    stored = np.random.default_rng(2).integers(0, 4000, (64, 96)).astype(kind) - kind(1000 * (kind is np.int16))
    dataset = phantoms.secondary_capture(tmp_path / "plain.dcm", stored)
    dataset.compress(syntax, generate_instance_uid=False)
    dataset.save_as(tmp_path / "packed.dcm", enforce_file_format=True)
    packed = read_dicom(tmp_path / "packed.dcm")
    np.testing.assert_array_equal(packed.array[0], stored)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_every_native_encoding_gives_the_same_values(tmp_path, syntax):
    dataset = phantoms.secondary_capture(tmp_path / "plain.dcm", RAMP)
    dataset.file_meta.TransferSyntaxUID = syntax
    if syntax == ExplicitVRBigEndian:
        dataset.PixelData = RAMP.astype(">u2").tobytes()
        dataset.set_original_encoding(False, False, None)
    dataset.save_as(tmp_path / "other.dcm", enforce_file_format=True)
    np.testing.assert_array_equal(read_dicom(tmp_path / "other.dcm").array[0], RAMP)


def test_lossless_jpeg_is_decoded_by_imagecodecs(tmp_path):
    imagecodecs = pytest.importorskip("imagecodecs")
    stored = np.random.default_rng(3).integers(0, 4000, (16, 24), dtype=np.uint16)
    read = as_jpeg(tmp_path, stored, imagecodecs.ljpeg_encode(stored, bitspersample=12))
    np.testing.assert_array_equal(read.array[0], stored)


def as_jpeg(folder: Path, stored: np.ndarray, encoded: bytes) -> Image:
    """Reads a file that holds this codestream as its only frame."""
    dataset = phantoms.secondary_capture(folder / "plain.dcm", stored)
    dataset.file_meta.TransferSyntaxUID = JPEGLossless
    dataset.PixelData = pydicom.encaps.encapsulate([bytes(encoded)])
    dataset["PixelData"].VR = "OB"
    dataset.BitsStored, dataset.HighBit = 12, 11
    dataset.save_as(folder / "packed.dcm", enforce_file_format=True)
    return read_dicom(folder / "packed.dcm")


def test_a_missing_decoder_is_one_sentence_with_its_name_and_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr(dicom_codestream, "can_decode", lambda: False)
    if pydicom.pixels.get_decoder(JPEGLossless).is_available:
        pytest.skip("gdcm is installed")
    with pytest.raises(Failed, match=r"compressed as JPEG Lossless.*needs a decoder.*pip install imagecodecs"):
        as_jpeg(tmp_path, RAMP, b"\xff\xd8")


def test_a_video_is_refused_by_the_name_of_its_encoding(tmp_path):
    dataset = phantoms.secondary_capture(tmp_path / "plain.dcm", RAMP)
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.102"
    dataset.PixelData = pydicom.encaps.encapsulate([b"1234"])
    dataset["PixelData"].VR = "OB"
    dataset.save_as(tmp_path / "film.dcm", enforce_file_format=True)
    with pytest.raises(Failed, match=r"film\.dcm is compressed as MPEG-4 .* no decoder here"):
        read_dicom(tmp_path / "film.dcm")


@pytest.mark.parametrize(
    ("tags", "says"),
    [
        ({"Rows": 4}, "fewer pixels than it claims"),
        ({"Rows": 30_000, "Columns": 30_000}, "fewer pixels than it claims"),
        ({"NumberOfFrames": 9}, "9 frames without positions"),
        ({"NumberOfFrames": 10**7}, "more than it has bytes for"),
        ({"NumberOfFrames": 0}, "claims 0 frames"),
        ({"Rows": 0}, "holds no pixels"),
        ({"BitsAllocated": 12}, "that cannot be"),
        ({"BitsStored": 17}, "that cannot be"),
        ({"HighBit": 3}, "highest of its 16 bits is number 3"),
        ({"HighBit": 16}, "highest of its 16 bits is number 16"),
        ({"SamplesPerPixel": 3}, "does not fit its colours"),
        ({"PhotometricInterpretation": "HSV"}, "is not read; read are"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "look-up table is broken"),
        ({"PixelData": None}, "holds no pixel data"),
        (
            {"RescaleSlope": None, "ModalityLUTSequence": items(LUTDescriptor=[9, 0, 16], LUTData=[1])},
            "look-up table is broken",
        ),
    ],
)
def test_headers_that_lie_are_one_sentence(tmp_path, tags, says):
    for lut in tags.get("ModalityLUTSequence", ()):
        lut["LUTDescriptor"].VR = lut["LUTData"].VR = "US"
    with pytest.raises(BadInput, match=says) as caught:
        picture(tmp_path, RAMP, **tags)
    assert "picture.dcm" in str(caught.value)


def test_sizes_over_the_cap_are_refused_before_any_pixel_is_read(tmp_path, monkeypatch):
    monkeypatch.setenv("HILUM_MAX_VOXELS", "11")
    with pytest.raises(TooLarge, match=r"picture\.dcm claims 1 x 3 x 4 x 1 = 12 voxels, the cap is 11"):
        picture(tmp_path, RAMP)


def test_a_codestream_of_another_size_than_the_header_is_not_decoded(tmp_path):
    dataset = phantoms.secondary_capture(tmp_path / "plain.dcm", np.zeros((64, 64), dtype=np.uint8))
    dataset.compress(JPEG2000Lossless, generate_instance_uid=False)
    packed = bytearray(pydicom.encaps.get_frame(dataset.PixelData, 0, number_of_frames=1))
    siz = packed.find(b"\xff\x51")
    packed[siz + 6 : siz + 14] = (60_000).to_bytes(4, "big") * 2
    dataset.PixelData = pydicom.encaps.encapsulate([bytes(packed)])
    dataset.save_as(tmp_path / "bomb.dcm", enforce_file_format=True)
    with pytest.raises(BadInput, match="64 x 64 pixels in its header and 60000 x 60000 in its compressed data"):
        read_dicom(tmp_path / "bomb.dcm")


def test_a_deflated_file_is_measured_before_it_is_inflated(tmp_path, monkeypatch):
    dataset = phantoms.secondary_capture(tmp_path / "plain.dcm", np.zeros((1000, 1000), dtype=np.uint8))
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.save_as(tmp_path / "bomb.dcm", enforce_file_format=True)
    assert (tmp_path / "bomb.dcm").stat().st_size < 10_000
    monkeypatch.setenv("HILUM_MAX_BYTES", "100000")
    with pytest.raises(TooLarge, match=r"bomb\.dcm unpacks to [\d,]+ bytes, the cap is 100,000"):
        read_dicom(tmp_path / "bomb.dcm")


def test_no_warning_of_pydicom_leaks_in_threads(tmp_path):
    """Filters and levels are as before when the last of several interleaved readers is done."""
    import logging
    from concurrent.futures import ThreadPoolExecutor

    uid = phantoms.secondary_capture(tmp_path / "odd.dcm", RAMP).SeriesInstanceUID.encode()
    (tmp_path / "odd.dcm").write_bytes((tmp_path / "odd.dcm").read_bytes().replace(uid, uid[:-3] + b"abc"))
    with pytest.warns(UserWarning, match="Invalid value for VR UI"):
        assert pydicom.dcmread(tmp_path / "odd.dcm").SeriesInstanceUID
    before, level = list(warnings.filters), logging.getLogger("pydicom").level
    with ThreadPoolExecutor(4) as pool:
        images = list(pool.map(read_dicom, [tmp_path / "odd.dcm"] * 16))
    assert len(images) == 16
    assert warnings.filters == before
    assert logging.getLogger("pydicom").level == level


def test_the_reader_asks_for_no_patient_data():
    from hilum.io.dicom_file import PALETTE, PICTURE, PIXELS, PLACE
    from hilum.io.dicom_header import MARKS

    asked = {pydicom.datadict.tag_for_keyword(keyword) for keyword in (*PLACE, *PICTURE, *PALETTE, *PIXELS, *MARKS)}
    assert not any(tag >> 16 == 0x0010 for tag in asked)
    assert not asked & {pydicom.datadict.tag_for_keyword(keyword) for keyword in phantoms.CANARY}


def test_explicit_little_endian_is_what_the_phantoms_write(tmp_path):
    phantoms.ct_series(tmp_path / "ct")
    first = next((tmp_path / "ct").iterdir())
    assert pydicom.dcmread(first).file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
