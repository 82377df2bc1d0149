"""An adapter: a folder with what an adaptation changed, and of which weights. No torch until tensors are asked for.

`adapter_config.json` says the system, the weights' tag and sha256, the method and how it was trained.
`adapter.safetensors` holds, under the upstream's names, whole tensors (NAME) that take the place of the base's, and
pairs (NAME.lora_A, NAME.lora_B) whose product is added to them (Hu et al. 2021, eq. 3).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hilum.values.errors import BadInput

if TYPE_CHECKING:
    from torch import Tensor

CONFIG, TENSORS = "adapter_config.json", "adapter.safetensors"
TRAINING = "training.safetensors"  # there, and no config, as long as an adaptation is not done
DOWN, UP = ".lora_A", ".lora_B"
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Adapter:
    """What an adapter's folder says of itself; `scale` multiplies its low-rank products.

    `branch` is where a branch of Haar details stands beside the patches, `hidden` its width; both empty without one.
    `names` are the classes of a probe, whose tensors (weight, bias, mean, deviation) stand on the network's vectors.
    """

    system: str
    weights: str
    weights_sha256: str
    method: str
    scale: float = 1.0
    branch: str = ""
    hidden: int = 0
    names: Sequence[str] = ()
    format: int = FORMAT
    version: str = ""
    trained: Mapping[str, Any] = field(default_factory=dict)

    def text(self) -> str:
        """The file as it is written."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"


def is_adapter(folder: Path) -> bool:
    """Whether the folder holds an adapter; one whose training was stopped is refused in a sentence."""
    if (folder / TRAINING).is_file() and not (folder / CONFIG).is_file():
        raise BadInput(f"{folder} holds a training that was stopped: the same hilum adapt command goes on with it")
    return (folder / CONFIG).is_file()


def read(folder: Path) -> Adapter:
    """What the folder says; a folder of another program, or of a later hilum, is refused in a sentence."""
    known = {each.name for each in fields(Adapter)}
    try:
        told = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        adapter = Adapter(**{name: value for name, value in told.items() if name in known})
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise BadInput(
            f"{folder / CONFIG} is not an adapter of hilum (peft's are not read yet); make one: hilum adapt --help"
        ) from error
    if adapter.format > FORMAT:
        raise BadInput(f"{folder} was made by a later hilum ({adapter.version}); install that version")
    if not (folder / TENSORS).is_file():
        raise BadInput(f"{folder} has no {TENSORS}: the adapter is incomplete")
    return adapter


def tensors(folder: Path) -> dict[str, Tensor]:
    """The adapter's own tensors."""
    from safetensors.torch import load_file

    return load_file(folder / TENSORS)


def applied(base: Mapping[str, Tensor], own: Mapping[str, Tensor], told: Adapter) -> dict[str, Tensor]:
    """The base's tensors (upstream names) with the adapter's own in their place or added to them."""
    whole = {name: each for name, each in own.items() if not name.endswith((DOWN, UP))}
    paired = {name.removesuffix(DOWN) for name in own if name.endswith(DOWN)}
    new = {name for name in whole if told.branch and name.startswith(f"{told.branch}.branch.")}
    strange = sorted((whole.keys() | paired) - base.keys() - new)
    if strange or any(name + UP not in own for name in paired):
        raise BadInput(f"the adapter does not fit its base: {strange[0] if strange else 'half of a pair is missing'}")
    products = {name: low_rank(own[name + DOWN], own[name + UP], base[name], told.scale) for name in paired}
    return {**base, **whole, **products}


def low_rank(down: Tensor, up: Tensor, host: Tensor, scale: float) -> Tensor:
    """W + scale · B A, for linear layers and for convolutions whose B is 1 x 1."""
    return host.float() + scale * (up.float().flatten(1) @ down.float().flatten(1)).reshape(host.shape)
