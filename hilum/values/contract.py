"""What a card promises about its input, held against one image: an error or a stated note, never silence."""

from __future__ import annotations

from .card import Card
from .errors import BadInput
from .image import Image

ANY = "any"


def checked(card: Card, image: Image) -> Image:
    """The image, if its modality is one that the card names; a modality that nobody stated is noted.

    Modalities are DICOM's codes (CT, MR, US, DX, CR, MG, OP, OPT, SM, ...); "any" takes all.
    """
    if ANY in card.modalities:
        return image
    modality = image.source.modality
    if modality is None:
        return image.noted(f"modality not stated by the file; {card.name} is meant for {', '.join(card.modalities)}")
    if modality not in card.modalities:
        raise BadInput(
            f"{card.name} is meant for {', '.join(card.modalities)}; this image says {modality}. "
            f"Choose a system that takes {modality}: hilum list --modality {modality}."
        )
    return image
