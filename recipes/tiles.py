"""Square tiles of stained tissue, from the slide region and pictures of the data folder (HILUM_DATA)."""

import io
import zipfile

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from pictures import data_root
from PIL import Image as Picture
from torch import Tensor

SLIDES = ("wsi/CMU-1-Small-Region.svs",)
PICTURES = "wsi/tiles.zip"
COLOUR = 0.08  # saturation above which a pixel is tissue: glass is grey
TISSUE = 0.3  # of a tile, at least


def tiles(side: int) -> list[tuple[str, UInt8[Tensor, "3 side side"]]]:
    """Tiles that show tissue, side by side, each with the name of where it is from."""
    found = []
    for name, picture in sources():
        for top in range(0, picture.shape[0] - side + 1, side):
            for left in range(0, picture.shape[1] - side + 1, side):
                tile = picture[top : top + side, left : left + side]
                if stained(tile).mean() >= TISSUE:
                    found.append((name, torch.from_numpy(np.moveaxis(tile, -1, 0).copy())))  # (h, w, c) -> (c, h, w)
    return found


def sources() -> list[tuple[str, UInt8[np.ndarray, "h w 3"]]]:
    """The slides at their first level, and the pictures but for whole slides in small and those without tissue."""
    import tifffile

    found = [(name, tifffile.imread(data_root() / name)) for name in SLIDES]
    with zipfile.ZipFile(data_root() / PICTURES) as file:
        for name in sorted(file.namelist()):
            if not name.startswith(("thumb", "no-tissue")):
                found.append((name, np.array(Picture.open(io.BytesIO(file.read(name))).convert("RGB"))))
    return found


def stained(tile: UInt8[np.ndarray, "h w 3"]) -> Bool[np.ndarray, "h w"]:
    """Where there is colour and light: neither glass nor a fold or a pen's black."""
    high, low = tile.max(-1).astype(float), tile.min(-1).astype(float)
    return ((high - low) / np.maximum(high, 1) > COLOUR) & (high > 40)
