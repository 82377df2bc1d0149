"""Prompts from text: what stands behind --box, --point, --point-out and --labels; one sentence for each mistake."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..values.errors import BadInput

if TYPE_CHECKING:
    from ..values.prompts import Box, Labels, Points

Place = tuple[float, ...]  # x, y or x, y, z
PromptSpace = Literal["voxel", "patient"]

AXES = "xyz"
BOX = "x,y:x,y or x,y,z:x,y,z"
POINT = "x,y or x,y,z"


def box(text: str, space: PromptSpace = "voxel") -> Box:
    """`[name=]x,y[,z]:x,y[,z]`: two corners, both included."""
    given = f"--box {text}"
    name, body = named(text, given)
    corners = body.split(":")
    if len(corners) != 2:
        raise BadInput(f"{given}: a box is two corners with one colon between them, {BOX}.")
    low, high = (_place(corner, given, BOX) for corner in corners)
    if len(low) != len(high):
        raise BadInput(f"{given}: its corners have {len(low)} and {len(high)} numbers; a box is {BOX}.")
    _in_order(low, high, space, given)
    from ..values.prompts import Box

    return Box([low], [high], space=space, name=name)  # type: ignore[arg-type]


def _in_order(low: Place, high: Place, space: PromptSpace, given: str) -> None:
    """Corners in voxels run from the lower to the higher index; in millimetres the axes may run either way."""
    swapped = [axis for axis in range(len(low)) if low[axis] > high[axis]]
    if swapped and space == "voxel":
        lower, higher = map(min, low, high), map(max, low, high)
        mended = ":".join(",".join(f"{value:g}" for value in corner) for corner in (lower, higher))
        axes = " and ".join(AXES[axis] for axis in swapped)
        raise BadInput(f"{given}: its corners are swapped along {axes}; write the lower one first, {mended}.")


def point(text: str, space: PromptSpace = "voxel") -> Points:
    """`[name=]x,y[,z]`: a click inside the object."""
    return _click(text, "--point", True, space)


def point_out(text: str, space: PromptSpace = "voxel") -> Points:
    """`[name=]x,y[,z]`: a click outside the object."""
    return _click(text, "--point-out", False, space)


def _click(text: str, option: str, inside: bool, space: PromptSpace) -> Points:
    given = f"{option} {text}"
    name, body = named(text, given)
    if ":" in body:
        raise BadInput(f"{given}: a point is {POINT}; a colon belongs to a --box.")
    from ..values.prompts import Points

    return Points([_place(body, given, POINT)], [inside], space=space, name=name)  # type: ignore[arg-type]


def labels(text: str, space: PromptSpace = "voxel") -> Labels:
    """`a, b, c`: names of classes, separated by commas; or FILE.json with the texts of each."""
    if text.strip().endswith(".json"):
        return _written(Path(text.strip()))
    names = tuple(part.strip() for part in text.split(",") if part.strip())
    if not names:
        raise BadInput(f"--labels {text!r}: at least one name is wanted, such as --labels 'liver, spleen'.")
    return _labels(names, f"--labels {text!r}")


def asked_labels(text: str, templates: list[str] | None) -> Labels:
    """The labels with the user's templates, where there are any."""
    said = labels(text)
    return with_templates(said, tuple(templates)) if templates else said


def with_templates(said: Labels, templates: tuple[str, ...]) -> Labels:
    """The labels with the user's templates, each with a place {} for the name."""
    from dataclasses import replace

    try:
        return replace(said, templates=templates)
    except ValueError as error:
        raise BadInput(f"--template: {str(error).removeprefix('labels: ')}.") from error


def _labels(
    names: tuple[str, ...],
    given: str,
    *,
    texts: tuple[tuple[str, ...], ...] = (),
    opposites: tuple[tuple[str, ...], ...] = (),
) -> Labels:
    from ..values.prompts import Labels

    try:
        return Labels(names, texts=texts, opposites=opposites)
    except ValueError as error:
        raise BadInput(f"{given}: {str(error).removeprefix('labels: ')}.") from error


def _written(file: Path) -> Labels:
    """{"pneumonia": ["signs of pneumonia", "consolidation"], "oedema": {"texts": [...], "opposites": [...]}, ...}."""
    wanted = '{"pneumonia": ["signs of pneumonia"], "oedema": {"texts": ["oedema"], "opposites": ["no oedema"]}}'
    try:
        table = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"--labels {file}: {(error.strerror or 'cannot be read').lower()}.") from error
    except ValueError as error:
        raise BadInput(f"--labels {file}: not JSON ({error}); wanted {wanted}") from error
    if not isinstance(table, dict) or not table:
        raise BadInput(f"--labels {file}: wanted a name with its texts for each class, such as {wanted}")
    told = [each if isinstance(each, dict) else {"texts": each} for each in table.values()]
    for name, each in zip(table, told, strict=True):
        known = all(key in ("texts", "opposites") and _all_texts(value) for key, value in each.items())
        if not known:
            raise BadInput(f"--labels {file}: {name} wants texts and opposites, lists of texts, such as {wanted}")
    texts, opposites = (tuple(tuple(each.get(key, ())) for each in told) for key in ("texts", "opposites"))
    return _labels(tuple(table), f"--labels {file}", texts=texts, opposites=opposites)


def _all_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) and each.strip() for each in value)


def named(text: str, given: str) -> tuple[str | None, str]:
    """`name=rest` taken apart; without a name it is None."""
    name, equals, rest = text.rpartition("=")
    if not equals:
        return None, text
    if not name.strip():
        raise BadInput(f"{given}: before the = a name is wanted, such as liver={rest}.")
    return name.strip(), rest


def _place(text: str, given: str, form: str) -> Place:
    words = [word.strip() for word in text.replace("−", "-").split(",")]
    if words[-1] == "" and len(words) > 1:
        raise BadInput(f"{given}: a number is missing after the last comma; write it without spaces, {form}.")
    if len(words) not in (2, 3):
        raise BadInput(f"{given}: {text.strip() or 'nothing'} is not a place; wanted {form}.")
    return tuple(_number(word, given, form) for word in words)


def _number(word: str, given: str, form: str) -> float:
    try:
        value = float(word)
    except ValueError:
        raise BadInput(f"{given}: {word or 'nothing'} is not a number; wanted {form}.") from None
    if not math.isfinite(value):
        raise BadInput(f"{given}: {word} is not a finite number; wanted {form}.")
    return value


def spacing(text: str) -> tuple[float, ...]:
    """`x,y,z` (or `x,y`): mm between voxel centres, all above 0."""
    given = f"--spacing {text}"
    steps = _place(text, given, "x,y,z in mm")
    if min(steps) <= 0:
        raise BadInput(f"{given}: a spacing is above 0 mm.")
    return steps


def memory(text: str, option: str = "--max-memory") -> int:
    """`8GB`, `512M`, `2e9`: bytes; K, M, G, T count by 1024."""
    body = text.strip().upper().removesuffix("B").removesuffix("I")
    power = "KMGT".find(body[-1:]) + 1 if body[-1:] else 0
    try:
        value = float(body[:-1] if power else body) * 1024**power
    except ValueError:
        raise BadInput(f"{option} {text}: wanted a size, such as 8GB or 512MB.") from None
    if not (math.isfinite(value) and value >= 1):
        raise BadInput(f"{option} {text}: wanted a size above 0, such as 8GB.")
    return int(value)
