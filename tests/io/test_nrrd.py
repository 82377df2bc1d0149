"""NRRD and MetaImage as others write them; our label maps and Slicer's segmentations."""

import bz2
import gzip
import os
import zlib

import numpy as np
import pytest
import SimpleITK as sitk
from grids import answer_on, picture, volume

from hilum.io.nrrd_mask import write_seg_nrrd
from hilum.io.read import read
from hilum.io.write import write
from hilum.values.errors import BadInput

VALUES = np.arange(60, dtype="<i2").reshape(5, 4, 3)  # (z, y, x)
PLACED = {
    "space": "left-posterior-superior",
    "space directions": "(0.7,0,0) (0,0.9,0) (0,0,2.5)",
    "space origin": "(-10,20,5)",
}


def nrrd(path, content=None, **fields):
    """A NRRD file with these header fields; None leaves a field out, and underscores stand for blanks."""
    given = {"type": "int16", "dimension": 3, "sizes": "3 4 5", "encoding": "raw", "endian": "little", **PLACED}
    given |= {key.replace("_", " "): value for key, value in fields.items()}
    lines = [f"{key}: {value}" for key, value in given.items() if value is not None]
    body = VALUES.tobytes() if content is None else content
    path.write_bytes("\n".join(["NRRD0004", "# a comment", *lines, "a key:=a: value", "", ""]).encode() + body)
    return path


def test_sizes_are_fastest_first_and_the_array_is_z_y_x(tmp_path):
    image = read(nrrd(tmp_path / "scan.nrrd"))
    assert np.array_equal(image.array[0], VALUES)
    assert image.spacing == (0.7, 0.9, 2.5)
    assert image.affine[:3, 3].tolist() == [-10.0, 20.0, 5.0]
    assert (image.space, image.source.format, image.source.notes) == ("patient", "nrrd", ())


@pytest.mark.parametrize(
    ("space", "signs"),
    [("right-anterior-superior", (-1, -1, 1)), ("RAS", (-1, -1, 1)), ("left-anterior-superior", (1, -1, 1))],
)
def test_other_patient_frames_are_brought_to_lps(space, signs, tmp_path):
    image = read(nrrd(tmp_path / "scan.nrrd", space=space))
    straight = read(nrrd(tmp_path / "lps.nrrd"))
    assert np.array_equal(image.affine, np.diag([*signs, 1]) @ straight.affine)


def test_a_frame_without_anatomy_is_taken_as_lps_and_said(tmp_path):
    image = read(nrrd(tmp_path / "scan.nrrd", space="scanner-xyz", space_origin=None))
    assert image.source.notes == (
        "the space 'scanner-xyz' is taken as LPS",
        "the file does not say its origin; taken as 0",
    )


@pytest.mark.parametrize(
    ("encoding", "pack"), [("raw", bytes), ("gzip", gzip.compress), ("gz", gzip.compress), ("bzip2", bz2.compress)]
)
def test_encodings_are_undone(encoding, pack, tmp_path):
    image = read(nrrd(tmp_path / "scan.nrrd", pack(VALUES.tobytes()), encoding=encoding))
    assert np.array_equal(image.array[0], VALUES)


def test_text_is_refused_by_name(tmp_path):
    with pytest.raises(BadInput, match="encoded as 'ascii'; hilum reads raw, gzip and bzip2"):
        read(nrrd(tmp_path / "scan.nrrd", encoding="ascii"))


def test_big_endian_is_read_and_silence_about_it_is_refused(tmp_path):
    image = read(nrrd(tmp_path / "scan.nrrd", VALUES.astype(">i2").tobytes(), endian="big"))
    assert np.array_equal(image.array[0], VALUES)
    with pytest.raises(BadInput, match="little or big endian"):
        read(nrrd(tmp_path / "scan.nrrd", endian=None))


def test_a_detached_header_finds_its_file_beside_it(tmp_path):
    (tmp_path / "values.raw").write_bytes(b"line\nxx" + VALUES.tobytes())
    image = read(nrrd(tmp_path / "scan.nhdr", b"", data_file="./values.raw", line_skip=1, byte_skip=2))
    assert np.array_equal(image.array[0], VALUES)
    assert [file.name for file in image.source.files] == ["scan.nhdr", "values.raw"]


@pytest.mark.parametrize("name", ["../values.raw", "/etc/passwd", "sub/values.raw", "..", "LIST", "v%03d.raw 1 9 1"])
def test_a_detached_header_reaches_no_other_folder(name, tmp_path):
    (tmp_path / "values.raw").write_bytes(VALUES.tobytes())
    (tmp_path / "sub").mkdir()
    with pytest.raises(BadInput, match=r"only a file in the same folder|which is not there"):
        read(nrrd(tmp_path / "sub" / "scan.nhdr", b"", data_file=name))


def test_a_link_out_of_the_folder_is_not_followed(tmp_path):
    (tmp_path / "values.raw").write_bytes(VALUES.tobytes())
    (tmp_path / "sub").mkdir()
    os.symlink(tmp_path / "values.raw", tmp_path / "sub" / "values.raw")
    with pytest.raises(BadInput, match="a link out of the folder"):
        read(nrrd(tmp_path / "sub" / "scan.nhdr", b"", data_file="values.raw"))


def test_byte_skip_of_minus_one_takes_the_files_end(tmp_path):
    image = read(nrrd(tmp_path / "scan.nrrd", b"anything at all" + VALUES.tobytes(), byte_skip=-1))
    assert np.array_equal(image.array[0], VALUES)


def test_bytes_are_skipped_after_unpacking(tmp_path):
    packed = gzip.compress(b"ab" + VALUES.tobytes())
    assert np.array_equal(read(nrrd(tmp_path / "scan.nrrd", packed, encoding="gzip", byte_skip=2)).array[0], VALUES)


@pytest.mark.parametrize("first", [True, False], ids=["first axis", "last axis"])
def test_an_axis_outside_space_holds_frames(first, tmp_path):
    frames = np.stack([VALUES, VALUES + 100])
    fields = {"dimension": 4, "sizes": "3 4 5 2", "space_directions": f"{PLACED['space directions']} none"}
    if first:
        fields = {"dimension": 4, "sizes": "2 3 4 5", "space_directions": f"none {PLACED['space directions']}"}
        frames = np.moveaxis(frames, 0, -1)
    path = nrrd(tmp_path / "scan.nrrd", np.ascontiguousarray(frames).tobytes(), **fields)
    with pytest.raises(BadInput, match="holds 2 frames"):
        read(path)
    assert np.array_equal(read(path, frame=1).array[0], VALUES + 100)


@pytest.mark.parametrize(("kind", "channels"), [("RGB-color", 3), ("RGBA-color", 4)])
def test_an_axis_of_colours_holds_channels(kind, channels, tmp_path):
    colour = np.arange(60 * channels, dtype=np.uint8).reshape(5, 4, 3, channels)
    directions = f"none {PLACED['space directions']}"
    fields = {"dimension": 4, "sizes": f"{channels} 3 4 5", "type": "uchar", "kinds": f"{kind} domain domain domain"}
    image = read(nrrd(tmp_path / "scan.nrrd", colour.tobytes(), space_directions=directions, **fields))
    assert np.array_equal(image.array, np.moveaxis(colour[..., :3], -1, 0))
    assert image.source.notes == (("the alpha channel was left out",) if channels == 4 else ())


def test_spacings_alone_are_spacing_without_a_place(tmp_path):
    fields = {"space": None, "space_directions": None, "space_origin": None}
    image = read(nrrd(tmp_path / "scan.nrrd", spacings="0.7 0.9 2.5", **fields))
    assert image.spacing == (0.7, 0.9, 2.5)
    assert "not how it lies in the patient" in image.source.notes[0]
    with pytest.raises(BadInput, match=r"neither space directions nor spacings.*--spacing x,y,z"):
        read(nrrd(tmp_path / "scan.nrrd", **fields))
    assert read(tmp_path / "scan.nrrd", spacing=(1, 1, 2)).spacing == (1.0, 1.0, 2.0)


def test_microns_become_millimetres_and_unknown_lengths_are_refused(tmp_path):
    assert read(nrrd(tmp_path / "scan.nrrd", space_units='"um" "um" "um"')).spacing == pytest.approx(
        (7e-4, 9e-4, 2.5e-3)
    )
    with pytest.raises(BadInput, match="measures in"):
        read(nrrd(tmp_path / "scan.nrrd", space_units='"s" "mm" "mm"'))


@pytest.mark.parametrize(
    "fields",
    [
        {"sizes": "3 4"},
        {"sizes": "3 4 0"},
        {"sizes": "3 4 x"},
        {"dimension": 9},
        {"type": "block"},
        {"space_directions": "(1,0,0) (0,1,0)"},
        {"space_directions": "(1,0,0) (0,1,0) (0,0)"},
        {"space_directions": "(1,0,0) (0,1,0) (0,one,1)"},
        {"space_directions": "(1,0,0) (0,1,0) (1,1,0)"},
        {"space_directions": "(1,0,0) (0,1,0) (0,0,nan)"},
        {"space_directions": "(1,0,0) (0,1,0) (0,0,1e300)"},
        {"space_origin": "(1,2)"},
        {"space_origin": "1 2 3"},
        {"byte_skip": -7},
        {"line_skip": 10**9},
        {"sizes": "1000 1000 1000"},
        {"sizes": "100000 100000 100000"},
    ],
    ids=str,
)
def test_a_damaged_header_is_a_sentence(fields, tmp_path):
    with pytest.raises(BadInput) as said:
        read(nrrd(tmp_path / "scan.nrrd", **fields))
    assert "scan.nrrd" in str(said.value)


def test_a_slicer_segmentation_has_names_values_and_colours(tmp_path):
    answer = answer_on(volume(), 3)
    path = write(answer, tmp_path / "mask.seg.nrrd")
    header = path.read_bytes().split(b"\n\n")[0].decode()
    assert "Segment1_Name:=object 2" in header
    assert "Segment1_LabelValue:=2" in header
    assert "Segment1_Layer:=0" in header
    low, high = answer.boxes()[2]
    assert f"Segment2_Extent:={low[0]} {high[0]} {low[1]} {high[1]} {low[2]} {high[2]}" in header
    itk = sitk.ReadImage(str(path))
    assert itk.GetMetaData("Segment0_Name") == "object 1"


def test_objects_that_overlap_lie_on_layers(tmp_path):
    answer = answer_on(volume(), 4, overlapping=True)
    path = write(answer, tmp_path / "mask.seg.nrrd")
    header = path.read_bytes().split(b"\n\n")[0].decode()
    for number, mask in enumerate(answer.masks):
        layer = int(header.split(f"Segment{number}_Layer:=")[1].split("\n")[0])
        assert np.array_equal(read(path, frame=layer).array[0] == number + 1, mask)
    itk = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    assert itk.shape[:3] == answer.image.grid
    assert np.array_equal((itk == 2).any(axis=-1), answer.masks[1])


def test_a_plain_nrrd_refuses_overlaps_and_names_the_pair(tmp_path):
    with pytest.raises(BadInput, match=r"object \d and object \d share .* voxels.*\.dcm \(SEG\)"):
        write(answer_on(volume(), 2, overlapping=True), tmp_path / "mask.nrrd")
    assert list(tmp_path.iterdir()) == []


def test_a_name_cannot_break_the_header(tmp_path):
    answer = answer_on(picture(), 1)
    renamed = type(answer)(answer.masks, ("left\n\nlung: é",), answer.scores, answer.image, answer.provenance)
    write_seg_nrrd(renamed, tmp_path / "mask.seg.nrrd")
    assert np.array_equal(read(tmp_path / "mask.seg.nrrd").array[0] == 1, answer.masks[0])
    assert "Segment0_Name:=left lung: é".encode() in (tmp_path / "mask.seg.nrrd").read_bytes()


# --- MetaImage -----------------------------------------------------------------------------------------------------


def meta(path, content=None, **fields):
    """A MetaImage with these header fields; None leaves a field out."""
    given = {"ObjectType": "Image", "NDims": 3, "BinaryData": True, "BinaryDataByteOrderMSB": False}
    given |= {"CompressedData": False, "TransformMatrix": "1 0 0 0 1 0 0 0 1", "Offset": "-10 20 5"}
    given |= {"ElementSpacing": "0.7 0.9 2.5", "DimSize": "3 4 5", "ElementType": "MET_SHORT"}
    given |= {"ElementDataFile": "LOCAL"} | fields
    given["ElementDataFile"] = given.pop("ElementDataFile")  # the header's last line
    lines = [f"{key} = {value}" for key, value in given.items() if value is not None]
    path.write_bytes("\n".join([*lines, ""]).encode() + (VALUES.tobytes() if content is None else content))
    return path


def test_a_metaimage_is_read_plain_and_packed(tmp_path):
    plain = read(meta(tmp_path / "scan.mha"))
    packed = read(meta(tmp_path / "packed.mha", zlib.compress(VALUES.tobytes()), CompressedData=True))
    for image in (plain, packed):
        assert np.array_equal(image.array[0], VALUES)
        assert image.spacing == (0.7, 0.9, 2.5)
        assert image.affine[:3, 3].tolist() == [-10.0, 20.0, 5.0]
        assert image.source.format == "metaimage"


def test_simpleitk_agrees_on_an_oblique_packed_metaimage(tmp_path):
    written = sitk.GetImageFromArray(VALUES)
    turn = [0.8, 0.6, 0.0, -0.6, 0.8, 0.0, 0.0, 0.0, 1.0]
    written.SetDirection(turn)
    sitk.WriteImage(written, str(tmp_path / "scan.mha"), useCompression=True)
    image = read(tmp_path / "scan.mha")
    assert np.array_equal(image.array[0], VALUES)
    assert np.allclose(image.affine[:3, :3].reshape(-1), turn)


def test_a_four_dimensional_metaimage_holds_frames(tmp_path):
    fields = {"NDims": 4, "DimSize": "3 4 5 2", "ElementSpacing": "0.7 0.9 2.5 1", "Offset": "-10 20 5 0"}
    fields |= {"TransformMatrix": " ".join(str(value) for value in np.eye(4).reshape(-1))}
    path = meta(tmp_path / "scan.mha", np.stack([VALUES, VALUES + 100]).tobytes(), **fields)
    with pytest.raises(BadInput, match="holds 2 frames"):
        read(path)
    assert np.array_equal(read(path, frame=1).array[0], VALUES + 100)


def test_a_metaimage_of_colours_has_three_channels(tmp_path):
    colour = np.arange(180, dtype=np.uint8).reshape(5, 4, 3, 3)
    path = meta(tmp_path / "scan.mha", colour.tobytes(), ElementType="MET_UCHAR", ElementNumberOfChannels=3)
    assert np.array_equal(read(path).array, np.moveaxis(colour, -1, 0))


def test_a_two_dimensional_metaimage_is_a_picture(tmp_path):
    path = tmp_path / "scan.mha"
    sitk.WriteImage(sitk.GetImageFromArray(VALUES[0]), str(path))
    image = read(path)
    assert (image.grid, image.space) == ((4, 3), "plane")


@pytest.mark.parametrize(
    "fields",
    [
        {"ElementSpacing": None},
        {"ElementSpacing": "1 1"},
        {"ElementSpacing": "1 1 one"},
        {"ElementSpacing": "1 1 0"},
        {"TransformMatrix": "1 0 0 1"},
        {"TransformMatrix": "1 0 0 1 0 0 0 0 1"},
        {"DimSize": "3 4"},
        {"DimSize": "3 4 -5"},
        {"DimSize": "300 400 500"},
        {"ElementType": "MET_OTHER"},
        {"ElementNumberOfChannels": 7},
        {"HeaderSize": -9},
        {"CompressedData": True},
        {"ElementDataFile": "../values.raw"},
        {"ElementDataFile": "LIST"},
        {"Offset": "1e300 0 0"},
    ],
    ids=str,
)
def test_a_damaged_metaimage_is_a_sentence(fields, tmp_path):
    with pytest.raises(BadInput) as said:
        read(meta(tmp_path / "scan.mha", **fields))
    assert "scan.mha" in str(said.value)
