"""A kit: a folder `<family>-<letter>` with config.json and tensors under the upstream's names.

Folders are looked for in $HILUM_KITS (several with the path separator), else in the repository and in the shared ones.
"""

import json
import os
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from safetensors.torch import load_file

HERE = Path(__file__).parent
OWN = HERE / "kits"
SHARED = HERE.parents[2] / "shared" / "parity"


@dataclass(frozen=True)
class Kit:
    """One kit; its tensors are read when asked for."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def family(self) -> str:
        return re.sub(r"-[a-z0-9]+$", "", self.name)

    @cached_property
    def sizes(self) -> SimpleNamespace:
        return SimpleNamespace(**json.loads((self.folder / "config.json").read_text())["sizes"])

    def tensors(self, stem: str) -> dict[str, torch.Tensor]:
        return load_file(self.folder / f"{stem}.safetensors")

    @cached_property
    def weights(self) -> dict[str, torch.Tensor]:
        return self.tensors("weights")

    @cached_property
    def inputs(self) -> dict[str, torch.Tensor]:
        return self.tensors("inputs")

    @cached_property
    def outputs(self) -> dict[str, torch.Tensor]:
        return self.tensors("outputs")


def roots() -> list[Path]:
    """Where kits are looked for."""
    named = os.environ.get("HILUM_KITS")
    places = [Path(place) for place in named.split(os.pathsep)] if named else [OWN, SHARED]
    return [place for place in places if place.is_dir()]


def all_kits() -> list[Kit]:
    """Every kit there is, each name once."""
    folders = {path.parent.name: path.parent for root in roots() for path in sorted(root.glob("*/config.json"))[::-1]}
    return [Kit(folder) for _, folder in sorted(folders.items())]


def found(families: tuple[str, ...]) -> list[Kit]:
    """The kits of these families."""
    return [kit for kit in all_kits() if kit.family in families]


def close(mine: torch.Tensor | np.ndarray, theirs: torch.Tensor, tolerance: float = 1e-4) -> None:
    """Equal within the kits' tolerance, and of the same shape."""
    mine = torch.as_tensor(mine)
    assert mine.shape == theirs.shape, f"{tuple(mine.shape)} against {tuple(theirs.shape)}"
    worst = float((mine.double() - theirs.double()).abs().max())
    assert worst <= tolerance, f"differs by {worst:.2e}"


def nearly_same_mask(mine: torch.Tensor | np.ndarray, theirs: torch.Tensor) -> None:
    """Masks may differ on a handful of pixels at their edge."""
    mine = torch.as_tensor(mine)
    assert mine.shape == theirs.shape
    assert float((mine.bool() != theirs.bool()).float().mean()) < 1e-3
