"""hilum: one door to the foundation models of medical imaging. Research use only, not a medical device.

    image = hilum.read("scan.nii.gz")
    answer = hilum.load("scout").ask(image, hilum.Box((40, 52, 18), (81, 90, 18)))
    hilum.write(answer, "mask.nii.gz")

Names are imported when first used, so that the command line answers at once.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .io.overlay import preview as preview
    from .io.read import read as read
    from .io.write import write as write
    from .registry import card as card
    from .registry import load as load
    from .registry import names as names
    from .values.answers import Embedding as Embedding
    from .values.answers import Findings as Findings
    from .values.answers import Reply as Reply
    from .values.answers import Scores as Scores
    from .values.answers import Segmentation as Segmentation
    from .values.card import Card as Card
    from .values.errors import HilumError as HilumError
    from .values.image import Image as Image
    from .values.image import from_array as from_array
    from .values.prompts import Box as Box
    from .values.prompts import Examples as Examples
    from .values.prompts import Labels as Labels
    from .values.prompts import Mask as Mask
    from .values.prompts import Points as Points
    from .values.prompts import Question as Question
    from .values.prompts import Scribble as Scribble
    from .values.prompts import Turns as Turns

_HOME = {
    "read": "io.read",
    "write": "io.write",
    "preview": "io.overlay",
    "card": "registry",
    "load": "registry",
    "names": "registry",
    **dict.fromkeys(("Embedding", "Findings", "Reply", "Scores", "Segmentation"), "values.answers"),
    "Card": "values.card",
    "HilumError": "values.errors",
    **dict.fromkeys(("Image", "from_array"), "values.image"),
    **dict.fromkeys(("Box", "Examples", "Labels", "Mask", "Points", "Question", "Scribble", "Turns"), "values.prompts"),
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"hilum has no {name!r}; it has {', '.join(sorted(_HOME))}")
    return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
