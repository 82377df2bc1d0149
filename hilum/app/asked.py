"""What was asked, understood as far as it can be without reading an image: words, prompts in order, options."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..values.errors import BadInput
from . import drawn, options
from .command import Said
from .words import Words
from .words import read as read_words

if TYPE_CHECKING:
    from ..adapt.calibrating import Calibration
    from ..values.image import Image
    from ..values.prompts import Prompt
    from .ask_options import AskOptions

Reader = Callable[[str, options.PromptSpace], Any]

READERS: dict[str, tuple[str, Reader]] = {  # option -> the kind of prompt, and what reads its text
    "--box": ("box", options.box),
    "--point": ("points", options.point),
    "--point-out": ("points", options.point_out),
    "--labels": ("labels", options.labels),
    "--mask": ("mask", drawn.mask),
    "--scribble": ("scribble", drawn.scribble),
}


@dataclass(frozen=True, slots=True)
class Asked:
    """Words, prompts in the order said (those drawn in files are not read yet), their kinds, and the options."""

    words: Words
    prompts: tuple[Prompt | drawn.Drawn, ...]
    kinds: tuple[str, ...]
    options: AskOptions

    def about(self, image: Image) -> tuple[Prompt, ...]:
        """The prompts for one image: what was drawn in files is laid on its grid."""
        return tuple(prompt.on(image) if isinstance(prompt, drawn.Drawn) else prompt for prompt in self.prompts)

    def reading(self) -> dict[str, Any]:
        """What the user says about the files."""
        given = self.options
        spacing = None if given.spacing is None else options.spacing(given.spacing)
        return {"series": given.series, "frame": given.frame, "spacing": spacing, "modality": given.modality}

    def calibration(self) -> Calibration | None:
        """What hilum calibrate wrote into the folder that was named."""
        from ..adapt import calibrating

        return None if self.options.calibration is None else calibrating.read(self.options.calibration)

    def most_memory(self) -> int | None:
        """Bytes that a look may take; None where the user did not say."""
        given = self.options.max_memory
        return None if given is None else options.memory(given)


def understood(given: AskOptions, said: Said) -> Asked:
    """The words and prompts of a command line; a named system that does not take them refuses them now."""
    words = read_words(given.words, given.question)
    space: options.PromptSpace = "patient" if given.mm else "voxel"
    prompts = [READERS[option][1](text, space) for option, text in said]
    kinds = [READERS[option][0] for option, _ in said]
    if given.template:
        prompts = [_said(prompt, tuple(given.template)) for prompt in prompts]
        if "labels" not in kinds:
            raise BadInput("--template says how labels are said: give --labels with it.")
    if given.calibration is not None and "labels" not in kinds:
        raise BadInput("--calibration gives probabilities of labels: give --labels with it.")
    if words.question is not None:
        from ..values.prompts import Question

        prompts.append(Question(words.question))
        kinds.append("question")
    asked = Asked(words, tuple(prompts), tuple(dict.fromkeys(kinds)), given)
    asked.reading()  # what is wrong with --spacing, --max-memory and --calibration is said now
    asked.most_memory()
    asked.calibration()
    if words.system is not None:
        from .choose import refuse

        refuse(words.system, asked.kinds)
    elif given.over is not None:
        raise BadInput(f"--over {given.over}: name the system that asks it first, such as hilum ask sam_u IMAGE.")
    return asked


def _said(prompt: Any, templates: tuple[str, ...]) -> Any:
    from ..values.prompts import Labels

    return options.with_templates(prompt, templates) if isinstance(prompt, Labels) else prompt
