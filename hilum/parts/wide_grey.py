"""Radiographs in the whole range of 16 bit, as the published preparation of ELIXR writes them into its PNG files."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int, Num, UInt16

TOP = 65535
SIGNED_TOP = 2**31 - 1  # of the 32-bit numbers that a windowed film is kept in


def shifted(values: Int[np.ndarray, "h w"]) -> Int[np.ndarray, "h w"]:
    """Without negative numbers: the least becomes 0."""
    whole = values.astype(np.int64)
    return whole - whole.min()


def stretched(values: Num[np.ndarray, "h w"]) -> UInt16[np.ndarray, "h w"]:
    """The least to 0 and the greatest to 65535, cut to whole numbers; black where all are one."""
    low, high = float(values.min()), float(values.max())
    if low == high:
        return np.zeros(values.shape, np.uint16)
    return np.interp(values, (low, high), (0, TOP)).astype(np.uint16)


def windowed(values: Num[np.ndarray, "h w"], black: float, white: float) -> Int[np.ndarray, "h w"]:
    """Black to 0, white to the top of 32 signed bits, straight between them, cut to whole numbers."""
    return (np.clip((values - black) / (white - black), 0.0, 1.0) * SIGNED_TOP).astype(np.int64)
