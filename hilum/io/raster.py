"""Pictures in by Pillow: PNG, JPEG, TIFF, BMP, GIF, WebP; 8 and 16 bit; the numbers as stored, nothing brightened.

Pillow keeps 8 bits of a 16-bit colour picture, so those are read another way: PNG in `png16`, TIFF by tifffile.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
from einops import rearrange
from jaxtyping import Num
from PIL import ImageOps

from hilum.values.errors import BadInput, HilumError, TooLarge
from hilum.values.image import Image

from . import limits
from .payload import opening, unreadable
from .png16 import colour_planes
from .stored import Stored, picked, settled

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP")
GREY = {"1": "L", "L": "L", "LA": "L", "La": "L"}  # Pillow's mode: what it is read as
DEEP = {"I;16", "I;16L", "I;16B", "I;16N", "I", "F"}  # grey of 16 or 32 bits, read as it is
COLOUR = dict.fromkeys(("RGB", "RGBA", "RGBa", "RGBX", "P", "PA", "CMYK", "YCbCr"), "RGB")
CONVERTED = {"P": "a palette", "PA": "a palette", "CMYK": "CMYK inks", "YCbCr": "YCbCr"}
ALPHA = {"LA", "La", "RGBA", "RGBa", "PA"}
ORIENTATION, BITS, PHOTOMETRIC = 0x0112, 258, 262  # EXIF and TIFF tags
TURNS = {  # by EXIF orientation: how often by 90° anticlockwise, then whether mirrored left to right
    2: (0, True),
    3: (2, False),
    4: (2, True),
    5: (3, True),
    6: (3, False),
    7: (1, True),
    8: (1, False),
}

Pixels = Num[np.ndarray, "h w *c"]


def read_raster(path: Path, *, frame: int | None = None, spacing: tuple[float, ...] | None = None) -> Image:
    """A picture (c, y, x) turned as its EXIF says; `frame` (from 0) picks one page of several."""
    with _opened(path) as (picture, warned):
        pages = 1 if picture.format == "MPO" else getattr(picture, "n_frames", 1)  # a camera's JPEG with its thumbnail
        at = picked(pages, frame, path.name)
        picture.seek(at)
        limits.check_voxels((len(picture.getbands()), picture.height, picture.width), 2, path.name)
        pixels, notes = _pixels(path, picture, at)
        name, inverted = str(picture.format).lower(), _white_is_zero(picture)
    said = tuple(dict.fromkeys(f"while reading: {warning.message}" for warning in warned))
    chosen = (f"frame {at} of {pages}",) if pages > 1 else ()
    values = rearrange(pixels, "y x -> 1 y x") if pixels.ndim == 2 else rearrange(pixels[..., :3], "y x c -> c y x")
    image = settled(
        Stored(
            path=path,
            format=name,
            values=np.ascontiguousarray(values),
            window=(0.0, 255.0) if values.dtype == np.uint8 else None,
            notes=(*chosen, *notes, *said),
        ),
        spacing,
    )
    return replace(image, display=replace(image.display, inverted=inverted))


@contextmanager
def _opened(path: Path) -> Iterator[tuple[PIL.Image.Image, list[warnings.WarningMessage]]]:
    """The opened picture, and what Pillow warns of while it is; all that goes wrong in the block becomes a sentence."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)  # our own cap decides below Pillow's
        try:
            with path.open("rb") as stream, PIL.Image.open(stream, formats=FORMATS) as picture:
                yield picture, warned
        except HilumError:
            raise
        except PIL.Image.DecompressionBombError as error:
            most = 2 * (PIL.Image.MAX_IMAGE_PIXELS or 0)
            raise TooLarge(f"{path.name} claims more than {most:,} pixels, more than a picture may have.") from error
        except PIL.UnidentifiedImageError as error:
            raise BadInput(f"{path.name} is damaged, or no picture that hilum reads ({', '.join(FORMATS)}).") from error
        except OSError as error:
            raise unreadable(path, error) from error
        except Exception as error:  # under a damaged file a decoder raises almost anything
            words = " ".join(str(error).split()) or type(error).__name__
            raise BadInput(f"{path.name} is damaged or of a rare kind; its decoder says: {words[:200]}.") from error


def _pixels(path: Path, picture: PIL.Image.Image, page: int) -> tuple[Pixels, tuple[str, ...]]:
    mode, bits, turn = picture.mode, _bits(path, picture), int(picture.getexif().get(ORIENTATION, 1))
    notes = (f"turned as its EXIF orientation {turn} says",) if turn in TURNS else ()
    if mode in ALPHA or "transparency" in picture.info:
        notes = (*notes, "the alpha channel was left out")
    if mode in CONVERTED:
        notes = (*notes, f"stored as {CONVERTED[mode]}; converted to RGB")
    if mode not in DEEP and bits > 8:
        return _turned(_deep_colour(path, picture, page), turn), notes
    if mode not in {*GREY, *DEEP, *COLOUR}:
        raise BadInput(f"{path.name} has pixels of the kind {mode}; hilum reads grey and RGB. Convert it first.")
    picture.load()
    upright = ImageOps.exif_transpose(picture)
    array = np.array(upright if mode in DEEP else upright.convert({**GREY, **COLOUR}[mode]))
    return array.astype(array.dtype.newbyteorder("="), copy=False), notes


def _bits(path: Path, picture: PIL.Image.Image) -> int:
    """Bits of one channel as the file has it; Pillow tells only what it makes of them."""
    if picture.format == "PNG":
        return opening(path, 25)[24]
    return max(getattr(picture, "tag_v2", {}).get(BITS, (8,)))


def _deep_colour(path: Path, picture: PIL.Image.Image, page: int) -> Pixels:
    """16-bit (TIFF: or deeper) colour, all channels; grey with alpha comes back as grey."""
    if picture.format == "PNG" and page == 0:
        array = colour_planes(path)
    elif picture.format == "TIFF" and picture.mode not in CONVERTED:
        import tifffile

        with tifffile.TiffFile(path) as file:
            sheet = file.pages[page]
            array = sheet.asarray()
            array = array if sheet.axes == "YXS" else rearrange(array, "s y x -> y x s")
    else:
        raise BadInput(
            f"{path.name} has more than 8 bits of colour in a way that hilum does not read: save it as an RGB TIFF."
        )
    return array[..., 0] if array.shape[-1] == 2 else array


def _turned(pixels: Pixels, turn: int) -> Pixels:
    quarters, mirrored = TURNS.get(turn, (0, False))
    turned = np.rot90(pixels, quarters)
    return turned[:, ::-1] if mirrored else turned


def _white_is_zero(picture: PIL.Image.Image) -> bool:
    """TIFF's WhiteIsZero; Pillow turns 8-bit pictures round itself, deeper ones not."""
    return picture.mode in DEEP and getattr(picture, "tag_v2", {}).get(PHOTOMETRIC) == 0
