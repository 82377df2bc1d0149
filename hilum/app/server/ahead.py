"""Looking ahead: a whole volume is seen before the first prompt, plane by plane, with progress."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...values import progress
from ...values.errors import BadInput

if TYPE_CHECKING:
    from ...capabilities.look import Look


def look_at_all(look: Look) -> int:
    """How many planes the system has now seen of the look's image; 1 of a picture or of a volume seen as a whole."""
    from ...capabilities.segment import Planar
    from ...capabilities.volumetric import Volumetric

    if "segment" not in look.system.card.capabilities:
        return 0
    image = look.images[0]
    if isinstance(look.system, Volumetric):
        progress.say("looking at the volume")
        look.whole()
        return 1
    section = look.prepared().section()
    count: int = section.planes(image.volume()).shape[1]
    if not callable(getattr(look.system, Planar.see.__name__, None)):
        raise BadInput(f"{look.system.card.name} looks at nothing before it is asked.")
    for number in progress.track(range(count), "planes seen"):
        look.seen(section, number)
    return count
