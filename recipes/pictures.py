"""Pictures without labels, from the data folder's archives (HILUM_DATA), for self-supervised recipes."""

import io
import os
import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image as Picture
from torch import Tensor

HELD_BACK = 10  # per cent of the pictures of a source, by name


def data_root() -> Path:
    """Where the archives lie."""
    return Path(os.environ.get("HILUM_DATA", Path(__file__).resolve().parents[1] / "../shared/data"))


def pictures(
    archives: tuple[str, ...], *, side: int, most: int, held: bool = False
) -> dict[str, UInt8[Tensor, "3 h w"]]:
    """Up to `most` pictures of each archive, in random order, their shorter side at most `side`; or those held back."""
    found: dict[str, Tensor] = {}
    for archive in archives:
        with zipfile.ZipFile(data_root() / archive) as file:
            names = [n for n in sorted(file.namelist()) if not n.endswith("/") and held_back(n) == held]
            for number in np.random.default_rng(0).permutation(len(names))[:most]:
                found[f"{archive}/{names[number]}"] = opened(file.read(names[number]), side)
    return found


def held_back(name: str) -> bool:
    """Whether a picture is kept from training."""
    return zlib.crc32(name.encode()) % 100 < HELD_BACK


def opened(content: bytes, side: int) -> UInt8[Tensor, "3 h w"]:
    """In colour, no larger than needed."""
    picture = Picture.open(io.BytesIO(content)).convert("RGB")
    scale = side / min(picture.size)
    if scale < 1:
        picture = picture.resize((round(picture.width * scale), round(picture.height * scale)), Picture.Resampling.BOX)
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous()
