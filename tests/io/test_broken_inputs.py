"""Broken files end in a sentence: cut off, empty, garbage, of another kind, with headers that lie."""

import gzip
import io
import signal
import zlib
from contextlib import contextmanager

import nibabel as nib
import numpy as np
import PIL.Image
import pytest
import SimpleITK as sitk
import tifffile
from grids import leftovers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hilum.io.read import read
from hilum.values.errors import BadInput, HilumError
from hilum.values.image import Image

MUTATED = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
PATIENCE = 20  # seconds for one file; generous, since the machine may be busy
VALUES = np.random.default_rng(0).integers(-1000, 1000, (5, 6, 7), dtype=np.int16)
GREY = np.random.default_rng(1).integers(0, 256, (12, 13), dtype=np.uint8)


def nifti(version=nib.Nifti1Image, **fields):
    scan = version(VALUES, np.diag([-0.7, -0.9, 2.5, 1.0]))
    for field, value in fields.items():
        scan.header[field] = value
    return scan.to_bytes()


def pictured(form, array=GREY, **options):
    stream = io.BytesIO()
    PIL.Image.fromarray(array).save(stream, format=form, **options)
    return stream.getvalue()


def deep_tiff():
    stream = io.BytesIO()
    tifffile.imwrite(stream, np.dstack([GREY] * 3).astype(np.uint16) * 200, photometric="rgb")
    return stream.getvalue()


def by_simpleitk(folder, name, **options):
    scan = sitk.GetImageFromArray(VALUES)
    scan.SetSpacing((0.7, 0.9, 2.5))
    sitk.WriteImage(scan, str(folder / name), **options)
    return (folder / name).read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Files that are well, by name."""
    folder = tmp_path_factory.mktemp("whole")
    return {
        "scan.nii": nifti(),
        "scaled.nii": nifti(scl_slope=0.5, scl_inter=-3.0, cal_max=100),
        "second.nii": nifti(nib.Nifti2Image),
        "scan.nii.gz": gzip.compress(nifti()),
        "scan.nrrd": by_simpleitk(folder, "scan.nrrd"),
        "packed.nrrd": by_simpleitk(folder, "packed.nrrd", useCompression=True),
        "scan.mha": by_simpleitk(folder, "scan.mha"),
        "packed.mha": by_simpleitk(folder, "packed.mha", useCompression=True),
        "film.png": pictured("PNG"),
        "photo.png": pictured("PNG", np.dstack([GREY] * 4)),
        "film.tif": pictured("TIFF"),
        "deep.tif": deep_tiff(),
        "packed.tif": pictured("TIFF", compression="tiff_lzw"),
        "film.bmp": pictured("BMP"),
        "film.gif": pictured("GIF"),
        "photo.jpg": pictured("JPEG"),
        "photo.webp": pictured("WEBP"),
    }


NAMES = (
    *("scan.nii", "scaled.nii", "second.nii", "scan.nii.gz", "scan.nrrd", "packed.nrrd", "scan.mha", "packed.mha"),
    *("film.png", "photo.png", "film.tif", "deep.tif", "packed.tif", "film.bmp", "film.gif", "photo.jpg", "photo.webp"),
)


@contextmanager
def patience():
    """Time out: a reader that hangs is a failure, not a wait."""

    def out(*_):
        raise AssertionError(f"still reading after {PATIENCE} s")

    before = signal.signal(signal.SIGALRM, out)
    signal.alarm(PATIENCE)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def ends_well(folder, name, content):
    """The property: an image that can be shown, or a sentence; nothing else, in time, and nothing left behind."""
    path = folder / name
    path.write_bytes(content)
    image, said = None, None
    with patience():
        try:
            image = read(path)
            shown = image.shown()
        except HilumError as error:
            said = error
    if said is None:
        assert isinstance(image, Image)
        assert np.isfinite(image.array).all()
        assert shown.shape == (*image.grid, 3)
    else:
        assert str(said).endswith((".", ")"))
        assert "\n" not in str(said)
        assert said.exit_code == 2, str(said)
    assert leftovers(folder, name) == []


@pytest.mark.parametrize("name", NAMES)
def test_the_files_are_well_before_they_are_broken(name, whole, tmp_path):
    (tmp_path / name).write_bytes(whole[name])
    assert read(tmp_path / name).array.size in (VALUES.size, GREY.size, 3 * GREY.size)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_cut_off_anywhere_is_a_sentence(name, whole, tmp_path):
    content = whole[name]
    for share in (0.01, 0.1, 0.3, 0.5, 0.8, 0.97):
        keep = int(share * len(content))
        ends_well(tmp_path, name, content[:keep])
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(BadInput):
        read(tmp_path / name)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "content", [b"", b"\0", b"\0" * 600, b"\xff" * 600, b"hello world, no image", bytes(range(256)) * 4]
)
def test_garbage_under_any_name_is_a_sentence(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    with patience(), pytest.raises(BadInput, match=name.split(".")[0]):
        read(tmp_path / name)


@pytest.mark.parametrize("name", NAMES)
def test_bytes_of_a_header_may_be_anything(name, whole, tmp_path, monkeypatch):
    monkeypatch.setenv("HILUM_MAX_VOXELS", "1000000")  # so that a lie costs little memory
    packed = name.endswith(".gz")
    content = gzip.decompress(whole[name]) if packed else whole[name]
    header = min(len(content), 540)

    @MUTATED
    @given(
        st.lists(st.tuples(st.integers(0, header - 1), st.binary(min_size=1, max_size=4)), min_size=1, max_size=4),
        st.sampled_from((1.0, 1.0, 1.0, 0.9)),
    )
    def however_mutated(patches, keep):
        broken = bytearray(content)
        for at, replacement in patches:
            broken[at : at + len(replacement)] = replacement
        broken = bytes(broken[: int(keep * len(broken))])
        ends_well(tmp_path, name, gzip.compress(broken, 1) if packed else broken)

    however_mutated()


HOSTILE = st.sampled_from(
    [
        *("0", "-1", "nan", "inf", "-inf", "1e308", "1e-308", "99999999999999999999", "", "x", "none", "(", ")", "%s"),
        *("(1,2", "(1,0,0)", "(nan,nan,nan)", "1 0 0", "../../etc/passwd", "LOCAL", "LIST", "MET_COMPLEX", "block"),
        *("double", "gzip", "bzip2", "raw", "big", "True", "2", "3", "4", "65536 65536 65536", "\u20ac", "\0"),
    ]
)


@pytest.mark.parametrize("name", ["scan.nrrd", "packed.nrrd", "scan.mha", "packed.mha"])
def test_words_of_a_text_header_may_be_anything(name, whole, tmp_path, monkeypatch):
    monkeypatch.setenv("HILUM_MAX_VOXELS", "1000000")
    content = whole[name]
    end = content.index(b"\n\n") if name.endswith("nrrd") else content.index(b"LOCAL")
    lines = content[:end].decode().split("\n")

    @MUTATED
    @given(st.lists(st.tuples(st.integers(1, len(lines) - 1), HOSTILE, st.integers(0, 4)), min_size=1, max_size=3))
    def however_worded(changes):
        broken = list(lines)
        for number, word, place in changes:
            key, mark, value = broken[number].partition("= " if name.endswith("mha") else ": ")
            words = value.split(" ")
            words[place % len(words)] = word
            broken[number] = key + mark + " ".join(words)
        ends_well(tmp_path, name, "\n".join(broken).encode() + content[end:])

    however_worded()


NUMBERS = st.one_of(
    st.sampled_from([0.0, -1.0, np.nan, np.inf, -np.inf, 1e38, -1e38, 1e-38, 1e9, 352.0, 353.0, 2.0**31, 0.5]),
    st.floats(width=32),
)
FLOATS = {"pixdim": 76, "vox_offset": 108, "scl_slope": 112, "scl_inter": 116, "cal_max": 124, "cal_min": 128}
FLOATS |= {"quatern": 256, "qoffset": 268, "srow_x": 280, "srow_y": 296, "srow_z": 312}
SHORTS = {"dim[0]": 40, "dim[1]": 42, "dim[2]": 44, "dim[3]": 46, "dim[4]": 48, "datatype": 70, "qform_code": 252}
SHORTS |= {"sform_code": 254}


def test_numbers_of_a_nifti_header_may_be_anything(whole, tmp_path, monkeypatch):
    monkeypatch.setenv("HILUM_MAX_VOXELS", "1000000")
    content = whole["scaled.nii"]

    @settings(MUTATED, max_examples=300)
    @given(
        st.lists(st.tuples(st.sampled_from(sorted(FLOATS)), st.integers(0, 3), NUMBERS), max_size=4),
        st.lists(st.tuples(st.sampled_from(sorted(SHORTS)), st.integers(-(2**15), 2**15 - 1)), max_size=2),
    )
    def however_numbered(floats, shorts):
        broken = bytearray(content)
        for field, place, number in floats:
            at = FLOATS[field] + 4 * (place if field in ("pixdim", "srow_x", "srow_y", "srow_z") else 0)
            broken[at : at + 4] = np.float32(number).tobytes()
        for field, number in shorts:
            broken[SHORTS[field] : SHORTS[field] + 2] = np.int16(number).tobytes()
        ends_well(tmp_path, "scan.nii", bytes(broken))

    however_numbered()


def test_values_may_be_any_floats(tmp_path):
    @MUTATED
    @given(st.lists(st.floats(width=64), min_size=8, max_size=8))
    def whatever_the_values(values):
        scan = nib.Nifti1Image(np.array(values).reshape(2, 2, 2), np.eye(4))
        ends_well(tmp_path, "scan.nii", scan.to_bytes())

    whatever_the_values()


@pytest.mark.parametrize("place", [b"\xff" * 8, b"\xff" * 7 + b"\x7f", b"\0" * 8])
def test_a_directory_that_lies_nowhere_is_a_sentence(place, tmp_path):
    """A BigTIFF whose first directory is before the file's start or far behind its end."""
    ends_well(tmp_path, "film.tif", b"II+\0\x08\0\0\0" + place + bytes(64))
    with pytest.raises(BadInput, match=r"film\.tif"):
        read(tmp_path / "film.tif")


def test_bombs_are_refused_before_they_unpack(tmp_path):
    large = np.array([3, 30000, 30000, 1, 1, 1, 1, 1], dtype="<i2").tobytes()
    lying = bytearray(nifti())
    lying[40:56] = large
    bomb = gzip.compress(bytes(lying) + bytes(5_000_000))
    ends_well(tmp_path, "scan.nii.gz", bomb)
    head = "ObjectType = Image\nNDims = 3\nDimSize = 900 900 900\nElementType = MET_UCHAR\nElementSpacing = 1 1 1\n"
    head += "CompressedData = True\nElementDataFile = LOCAL\n"
    (tmp_path / "scan.nii.gz").unlink()
    (tmp_path / "scan.mha").write_bytes(head.encode() + zlib.compress(bytes(500_000)))
    with patience(), pytest.raises(BadInput, match="cannot hold them"):
        read(tmp_path / "scan.mha")
