"""What an agent says about an image: clicks, boxes, labels or a question, in voxels or millimetres."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from ...values.errors import BadInput

if TYPE_CHECKING:
    from ...values.prompts import Prompt

Number = Annotated[float, Field(ge=-1e9, le=1e9, allow_inf_nan=False)]
Place = Annotated[list[Number], Field(min_length=2, max_length=3, description="x, y in a picture; x, y, z in a volume")]
Text = Annotated[str, Field(min_length=1, max_length=1000)]
Name = Annotated[Text | None, Field(description="which object is meant; prompts of one name are about one object")]
Unit = Literal["voxel", "mm"]


class Said(BaseModel):
    """No field that is not known."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Point(Said):
    """A click inside an object, or outside it to take something away."""

    at: Place
    inside: bool = True
    object: Name = None


class Corners(Said):
    """A box around an object; both corners are included."""

    low: Place
    high: Place
    object: Name = None


Points = Annotated[list[Point], Field(max_length=1000)]
Boxes = Annotated[list[Corners], Field(max_length=100)]
Names = Annotated[list[Text], Field(max_length=1000)]


def prompts(
    boxes: list[Corners], points: list[Point], labels: list[str], question: str | None, unit: Unit
) -> list[tuple[str, Prompt]]:
    """(kind, prompt) of each, boxes before the clicks that refine them."""
    from ...values import prompts as said

    space: said.PromptSpace = "patient" if unit == "mm" else "voxel"
    found: list[tuple[str, Prompt]] = []
    try:
        for box in boxes:
            found.append(("box", said.Box([box.low], [box.high], space, box.object)))  # type: ignore[arg-type]
        for point in points:
            click = said.Points([point.at], [point.inside], space, point.object)  # type: ignore[arg-type]
            found.append(("points", click))
        if labels:
            found.append(("labels", said.Labels(tuple(labels))))
    except ValueError as error:  # a prompt checks itself at birth
        raise BadInput(f"{error}.") from error
    if question:
        found.append(("question", said.Question(question)))
    return found
