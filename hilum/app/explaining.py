"""What --explain does in `hilum ask`: refused early where nothing is explained, made of the same look, written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..values.errors import BadInput

if TYPE_CHECKING:
    from ..capabilities.look import Look
    from ..capabilities.system import System
    from ..values.answers import Answer
    from ..values.explanation import Explanation
    from ..values.image import Image
    from ..values.prompts import Prompt

EXPLAINED = frozenset({"scores", "segmentation"})


def check(path: Path, *, force: bool) -> None:
    """Refuses a file that no explanation could be written to."""
    from ..io.write import check_write
    from ..values.explanation import Explanation

    check_write(Explanation, path, force=force)


def check_place(path: Path, image: Image) -> None:
    """Refuses, before the look, NIfTI of an image that has no place in a patient."""
    if path.name.lower().endswith((".nii", ".nii.gz")):
        from ..io.nifti_maps import check_place as placed

        placed(image)


def refuse(system: System) -> None:
    """Refuses, before the look, a system whose answers are neither scores nor masks."""
    card = system.card
    if system.probe is None and not EXPLAINED & set(card.returns):
        raise BadInput(f"--explain is for scores and masks, and {card.name} gives {', '.join(card.returns)}.")


def made(look: Look, prompts: tuple[Prompt, ...], answer: Answer) -> Explanation:
    """The explanation of the look's answer."""
    from ..capabilities.explain import explain

    return explain(look, prompts, answer)


def write(explanation: Explanation, path: Path, *, force: bool) -> None:
    """The sheet, or the maps."""
    from ..io.write import write as written

    written(explanation, path, force=force)


def reported(explanation: Explanation | None) -> dict[str, Any]:
    """What is added to the answer's report."""
    from ..io.report import explained

    return {} if explanation is None else {"explanation": explained(explanation)}
