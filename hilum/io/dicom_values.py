"""From stored to modality values (HU, ...) or 8-bit RGB, and the window in which they are shown."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Num
from pydicom.dataset import Dataset, FileDataset
from pydicom.pixels import apply_color_lut

from hilum.io.dicom_header import Header, Plane
from hilum.values.image import Display

CT_WINDOW = Display(-160.0, 240.0)  # level 40, width 400: soft tissue
ROBUST = (0.5, 99.5)  # percentiles shown black and white where the file states no window
LEAST_CONTRAST = 0.2  # part of a window that the values must fill
SAMPLE = 1_000_000  # values that the percentiles look at


def value_type(headers: Sequence[Header], planes: Sequence[Plane]) -> np.dtype:
    """The narrowest of uint8, int16 and float32 that holds all modality values exactly; float32 where none does."""
    first = headers[0]
    if first.photometric == "PALETTE COLOR" or first.samples == 3:
        return np.dtype(np.uint8)
    whole = all(plane.slope == 1.0 and plane.intercept.is_integer() for plane in planes)
    if whole and not any(header.has_lut for header in headers):
        low = min(0 if not header.signed else -(2 ** (header.bits_stored - 1)) for header in headers)
        high = max(2 ** (header.bits_stored - header.signed) - 1 for header in headers)
        ends = low + min(plane.intercept for plane in planes), high + max(plane.intercept for plane in planes)
        for kind in (np.uint8, np.int16):
            if np.iinfo(kind).min <= ends[0] and ends[1] <= np.iinfo(kind).max and max(first.bits, 8) <= 16:
                return np.dtype(kind)
    return np.dtype(np.float32)


def values(
    stored: Num[np.ndarray, "rows columns *rgb"], dataset: FileDataset, header: Header, plane: Plane
) -> Num[np.ndarray, "channels rows columns"]:
    """Modality values of one frame as (1, y, x), or RGB as (3, y, x) with 8 bits."""
    if header.photometric == "PALETTE COLOR":
        return _eight_bits(apply_color_lut(stored, _little_palette(dataset))[..., :3])
    if header.samples == 3:
        return _eight_bits(stored, header.bits_stored)
    if header.has_lut:
        return _looked_up(stored, dataset)[None]
    if plane.slope == 1.0 and plane.intercept == 0.0:
        return stored[None]
    if plane.slope == 1.0 and plane.intercept.is_integer() and stored.dtype.itemsize <= 2:
        return np.add(stored, int(plane.intercept), dtype=np.int32)[None]
    return (stored * np.float64(plane.slope) + plane.intercept)[None]


def display(
    array: Num[np.ndarray, " c *grid"], headers: Sequence[Header], planes: Sequence[Plane]
) -> tuple[Display, tuple[str, ...]]:
    """The first window of the middle plane; else the CT soft tissue window; else robust percentiles without padding.

    A window so wide, or so far off, that it leaves next to no contrast is passed over, and a note says so.
    """
    first, middle = headers[0], planes[len(planes) // 2]
    if array.shape[0] == 3:
        return Display(0.0, 255.0), ()
    low, high = _robust_range(array, first, middle)
    inverted = first.photometric == "MONOCHROME1"
    if middle.window is None:
        soft_tissue = first.modality == "CT" and first.unit == "HU"
        return CT_WINDOW if soft_tissue else Display(low, high, inverted=inverted), ()
    black, white = middle.window
    seen = min(high, white) - max(low, black)
    if seen >= LEAST_CONTRAST * (white - black):
        return Display(black, white, inverted=inverted), ()
    note = f"the file's window {black:g} to {white:g} shows next to nothing of its values: {low:g} to {high:g} is shown"
    return Display(low, high, inverted=inverted), (note,)


def _robust_range(array: Num[np.ndarray, " c *grid"], header: Header, plane: Plane) -> tuple[float, float]:
    sample = array.reshape(-1)[:: max(1, array.size // SAMPLE)]
    tissue = sample[~_padded(sample, header, plane)]
    low, high = np.percentile(tissue if tissue.size else sample, ROBUST).tolist()
    if not high > low:
        low, high = float(array.min()), float(array.max())
    return low, high if high > low else low + 1.0


def _padded(sample: Num[np.ndarray, " n"], header: Header, plane: Plane) -> np.ndarray:
    """Where values stand for no tissue; the file states the padding as stored values."""
    if header.padding is None or header.has_lut:
        return np.zeros(sample.shape, dtype=bool)
    ends = sorted(plane.slope * end + plane.intercept for end in header.padding)
    return (sample >= ends[0] - 0.5 * abs(plane.slope)) & (sample <= ends[1] + 0.5 * abs(plane.slope))


def _little_palette(dataset: FileDataset) -> FileDataset:
    """pydicom reads palettes as little-endian words; those of a big-endian file are turned round, once."""
    if dataset.original_encoding[1] is False and not dataset.get("SegmentedRedPaletteColorLookupTableData"):
        for colour in ("Red", "Green", "Blue"):
            element = dataset[f"{colour}PaletteColorLookupTableData"]
            element.value = np.frombuffer(element.value, ">u2").astype("<u2").tobytes()
        dataset.set_original_encoding(dataset.original_encoding[0], True, None)
    return dataset


def _eight_bits(rgb: Num[np.ndarray, "rows columns 3"], bits: int | None = None) -> Num[np.ndarray, "3 rows columns"]:
    """The upper eight bits, colours first."""
    depth = rgb.dtype.itemsize * 8 if bits is None else bits
    return np.moveaxis((rgb >> (depth - 8) if depth > 8 else rgb).astype(np.uint8), -1, 0)


def _looked_up(stored: Num[np.ndarray, "rows columns"], dataset: Dataset) -> Num[np.ndarray, "rows columns"]:
    """The modality LUT (PS3.3 C.11.1): values beyond its ends take those of its ends."""
    item = dataset.ModalityLUTSequence[0]
    entries, first, _ = (int(value) for value in item.LUTDescriptor)
    data = item.LUTData
    little = dataset.original_encoding[1] is not False
    table = np.frombuffer(data, "<u2" if little else ">u2") if isinstance(data, bytes) else np.atleast_1d(data)
    if len(table) < (entries or 65536):
        raise ValueError("fewer entries than it claims")
    return table[np.clip(stored.astype(np.int64) - first, 0, (entries or 65536) - 1)]
