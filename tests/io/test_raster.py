"""Pictures: 8 and 16 bit, colour, alpha, palettes, turned by EXIF, several pages, too many pixels."""

import io
import struct
import zlib

import numpy as np
import PIL.Image
import pytest
import tifffile
from grids import answer_on, picture
from PIL import ImageOps

from hilum.io.png16 import SIGNATURE
from hilum.io.read import read
from hilum.io.write import write
from hilum.values.errors import BadInput, TooLarge

GREY = np.arange(35, dtype=np.uint8).reshape(5, 7) * 7
RGB = np.random.default_rng(1).integers(0, 256, (5, 7, 3), dtype=np.uint8)
DEEP = np.random.default_rng(2).integers(0, 65536, (5, 7, 4), dtype=np.uint16)


def saved(path, array, **options):
    PIL.Image.fromarray(array).save(path, **options)
    return path


def png(path, width, height, depth, kind, body, *, interlaced=0):
    """A PNG made of its parts."""
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, interlaced)),
        (b"IDAT", body),
        (b"IEND", b""),
    ]
    packed = [
        struct.pack(">I", len(body)) + mark + body + struct.pack(">I", zlib.crc32(mark + body)) for mark, body in parts
    ]
    path.write_bytes(SIGNATURE + b"".join(packed))
    return path


def filtered(rows, pixel):
    """PNG rows, each filtered by another of the five ways."""
    out, above = [], np.zeros(rows.shape[1], dtype=int)
    for number, row in enumerate(rows.astype(int)):
        left = np.concatenate([np.zeros(pixel, dtype=int), row[:-pixel]])
        corner = np.concatenate([np.zeros(pixel, dtype=int), above[:-pixel]])
        guess = left + above - corner
        near = [np.abs(guess - other) for other in (left, above, corner)]
        paeth = np.where((near[0] <= near[1]) & (near[0] <= near[2]), left, np.where(near[1] <= near[2], above, corner))
        taken = (0, left, above, (left + above) // 2, paeth)[number % 5]
        out.append(bytes([number % 5]) + ((row - taken) % 256).astype(np.uint8).tobytes())
        above = row
    return zlib.compress(b"".join(out))


@pytest.mark.parametrize("name", ["film.png", "film.tif", "film.bmp"])
def test_grey_is_read_as_stored(name, tmp_path):
    image = read(saved(tmp_path / name, GREY))
    assert np.array_equal(image.array, GREY[None])
    assert (image.space, image.spacing, image.source.notes) == ("pixel", None, ())
    assert (image.display.low, image.display.high) == (0.0, 255.0)
    assert image.source.format == {"film.png": "png", "film.tif": "tiff", "film.bmp": "bmp"}[name]


@pytest.mark.parametrize("name", ["photo.png", "photo.tif", "photo.bmp", "photo.webp"])
def test_colour_is_channels_first(name, tmp_path):
    image = read(saved(tmp_path / name, RGB, **({"lossless": True} if name.endswith("webp") else {})))
    assert np.array_equal(image.array, np.moveaxis(RGB, -1, 0))


def test_a_jpeg_is_what_pillow_decodes(tmp_path):
    path = saved(tmp_path / "photo.jpg", RGB)
    assert np.array_equal(read(path).array, np.moveaxis(np.array(PIL.Image.open(path)), -1, 0))


@pytest.mark.parametrize("name", ["film.png", "film.tif"])
def test_sixteen_bit_grey_keeps_its_values(name, tmp_path):
    image = read(saved(tmp_path / name, DEEP[..., 0]))
    assert image.array.dtype == np.uint16
    assert np.array_equal(image.array[0], DEEP[..., 0])
    assert image.display.high < 65536


def test_big_endian_tiff_is_read(tmp_path):
    tifffile.imwrite(tmp_path / "film.tif", DEEP[..., 0], byteorder=">")
    image = read(tmp_path / "film.tif")
    assert np.array_equal(image.array[0], DEEP[..., 0])
    assert image.array.dtype.isnative


def test_float_tiff_keeps_its_values(tmp_path):
    values = GREY.astype(np.float32) / 3
    assert np.array_equal(read(saved(tmp_path / "map.tif", values)).array[0], values)


@pytest.mark.parametrize(("kind", "channels"), [(2, 3), (6, 4), (4, 2)], ids=["RGB", "RGBA", "grey and alpha"])
def test_sixteen_bit_colour_png_keeps_all_sixteen(kind, channels, tmp_path):
    values = DEEP[..., :channels]
    octets = values.astype(">u2").view(np.uint8).reshape(5, -1)
    image = read(png(tmp_path / "photo.png", 7, 5, 16, kind, filtered(octets, 2 * channels)))
    wanted = values[..., 0][None] if channels == 2 else np.moveaxis(values[..., :3], -1, 0)
    assert image.array.dtype == np.uint16
    assert np.array_equal(image.array, wanted)
    assert image.source.notes == (() if channels == 3 else ("the alpha channel was left out",))


def test_an_interlaced_sixteen_bit_colour_png_is_refused(tmp_path):
    body = zlib.compress(bytes(500))
    with pytest.raises(BadInput, match="without interlacing"):
        read(png(tmp_path / "photo.png", 7, 5, 16, 2, body, interlaced=1))


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_sixteen_bit_colour_tiff_keeps_all_sixteen(planar, tmp_path):
    values = DEEP[..., :3]
    laid = values if planar == "contig" else np.moveaxis(values, -1, 0)
    tifffile.imwrite(tmp_path / "photo.tif", laid, photometric="rgb", planarconfig=planar)
    image = read(tmp_path / "photo.tif")
    assert image.array.dtype == np.uint16
    assert np.array_equal(image.array, np.moveaxis(values, -1, 0))


def test_alpha_is_left_out_and_said(tmp_path):
    rgba = np.dstack([RGB, GREY])
    image = read(saved(tmp_path / "photo.png", rgba))
    assert np.array_equal(image.array, np.moveaxis(RGB, -1, 0))
    assert image.source.notes == ("the alpha channel was left out",)


def test_a_palette_becomes_its_colours_and_is_said(tmp_path):
    indexed = PIL.Image.fromarray(RGB).quantize(8)
    indexed.save(tmp_path / "photo.png")
    image = read(tmp_path / "photo.png")
    assert np.array_equal(image.array, np.moveaxis(np.array(indexed.convert("RGB")), -1, 0))
    assert image.source.notes == ("stored as a palette; converted to RGB",)


def test_inks_become_colours_and_are_said(tmp_path):
    PIL.Image.fromarray(RGB).convert("CMYK").save(tmp_path / "photo.jpg")
    image = read(tmp_path / "photo.jpg")
    assert image.array.shape == (3, 5, 7)
    assert image.source.notes == ("stored as CMYK inks; converted to RGB",)


def test_one_bit_is_black_and_white(tmp_path):
    PIL.Image.fromarray(GREY > 100).save(tmp_path / "mask.png")
    assert np.array_equal(read(tmp_path / "mask.png").array[0], np.where(GREY > 100, 255, 0))


@pytest.mark.parametrize("name", ["photo.jpg", "photo.tif", "deep.png", "photo.png"])
@pytest.mark.parametrize("turn", range(2, 9))
def test_a_picture_stands_as_its_exif_says(turn, name, tmp_path):
    path = tmp_path / name
    exif = PIL.Image.Exif()
    exif[0x0112] = turn
    if name == "deep.png":
        octets = DEEP[..., :3].astype(">u2").view(np.uint8).reshape(5, -1)
        plain = png(path, 7, 5, 16, 2, filtered(octets, 6)).read_bytes()
        body = exif.tobytes().removeprefix(b"Exif\0\0")
        chunk = struct.pack(">I", len(body)) + b"eXIf" + body + struct.pack(">I", zlib.crc32(b"eXIf" + body))
        path.write_bytes(plain[:33] + chunk + plain[33:])
    else:
        saved(path, RGB, exif=exif)
    upright = np.array(ImageOps.exif_transpose(PIL.Image.open(path)))
    image = read(path)
    shown = (image.array >> 8).astype(np.uint8) if name == "deep.png" else image.array
    assert np.array_equal(shown, np.moveaxis(upright, -1, 0))
    assert image.source.notes == (f"turned as its EXIF orientation {turn} says",)


def test_white_may_be_zero(tmp_path):
    for depth, inverted in ((np.uint16, True), (np.uint8, False)):  # Pillow turns 8 bits round itself
        values = (GREY.astype(depth) + 1) * (1 if depth is np.uint8 else 200)
        tifffile.imwrite(tmp_path / "film.tif", values, photometric="miniswhite")
        image = read(tmp_path / "film.tif")
        assert image.display.inverted is inverted
        shown = image.shown()[..., 0].astype(int)
        assert shown[0, 0] > shown[4, 6]


@pytest.mark.parametrize("name", ["pages.tif", "film.gif", "film.png"])
def test_one_of_several_pages_is_picked(name, tmp_path):
    pages = [PIL.Image.fromarray(GREY + shade) for shade in (0, 1, 2)]
    pages[0].save(tmp_path / name, save_all=True, append_images=pages[1:])
    with pytest.raises(BadInput, match=rf"{name} holds 3 frames: choose one with --frame 0 to 2"):
        read(tmp_path / name)
    with pytest.raises(BadInput, match="--frame 3 is none"):
        read(tmp_path / name, frame=3)
    image = read(tmp_path / name, frame=2)
    assert np.array_equal(image.array[0], GREY + 2)
    assert "frame 2 of 3" in image.source.notes


def test_a_stated_spacing_gives_lengths_within_the_picture(tmp_path):
    image = read(saved(tmp_path / "film.png", GREY), spacing=(0.2, 0.1))
    assert (image.space, image.spacing) == ("plane", (0.2, 0.1))
    assert "0.2, 0.1 mm was stated by the user" in image.source.notes[0]
    with pytest.raises(BadInput, match=r"--spacing wants 2 lengths in mm \(x,y\)"):
        read(tmp_path / "film.png", spacing=(0.2, 0.1, 1.0))


def test_more_pixels_than_a_picture_may_have_are_refused_unread(tmp_path):
    with pytest.raises(TooLarge, match="claims more than"):
        read(png(tmp_path / "bomb.png", 60000, 60000, 8, 0, zlib.compress(bytes(1000))))


def test_our_own_cap_decides_below_pillows(tmp_path, monkeypatch):
    path = png(tmp_path / "large.png", 10000, 10000, 8, 0, zlib.compress(bytes(1000)))
    monkeypatch.setenv("HILUM_MAX_VOXELS", "1000000")
    with pytest.raises(TooLarge, match="the cap is 1,000,000"):
        read(path)


@pytest.mark.parametrize("keep", [0.02, 0.3, 0.9])
@pytest.mark.parametrize("name", ["film.png", "film.tif", "film.bmp", "photo.jpg", "film.gif", "film.webp"])
def test_a_picture_cut_off_is_a_sentence(name, keep, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    path = saved(tmp_path / name, noise)
    whole = path.read_bytes()
    path.write_bytes(whole[: max(1, int(keep * len(whole)))])
    with pytest.raises(BadInput) as said:
        read(path)
    assert name in str(said.value)


def test_a_cut_off_sixteen_bit_colour_png_is_a_sentence(tmp_path):
    octets = DEEP[..., :3].astype(">u2").view(np.uint8).reshape(5, -1)
    path = png(tmp_path / "photo.png", 7, 50, 16, 2, filtered(octets, 6))
    with pytest.raises(BadInput, match="cut off"):
        read(path)


# --- masks as PNG --------------------------------------------------------------------------------------------------


def test_one_object_is_black_and_white(tmp_path):
    answer = answer_on(picture(), 1)
    written = PIL.Image.open(write(answer, tmp_path / "mask.png"))
    assert written.mode == "L"
    assert np.array_equal(np.array(written), np.where(answer.masks[0], 255, 0))


def test_several_objects_are_palette_indices_with_names(tmp_path):
    answer = answer_on(picture(), 3)
    written = PIL.Image.open(io.BytesIO(write(answer, tmp_path / "mask.png").read_bytes()))
    assert written.mode == "P"
    for number, mask in enumerate(answer.masks, start=1):
        assert np.array_equal(np.array(written) == number, mask)
    assert written.text["labels"] == '{"1": "object 1", "2": "object 2", "3": "object 3"}'


def test_a_mask_lies_on_the_picture_as_read(tmp_path):
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    image = read(saved(tmp_path / "photo.jpg", RGB, exif=exif))
    written = read(write(answer_on(image, 1), tmp_path / "mask.png"))
    assert written.grid == image.grid == (7, 5)
