"""ELIXR against the numbers of its published code: scoring, preparation of films, preparation of texts."""

import numpy as np
import pytest
import torch
from parity.kit import Kit, close

from hilum.objectives.query_matching import query_max
from hilum.parts import wide_grey
from hilum.parts.tokens import Tokens
from hilum.systems.elixr import PAPER, endless

KITS = ("elixr",)


def needs(kit: Kit, *keys: str) -> None:
    """Trimmed kits lack some groups."""
    if absent := [key for key in keys if key not in kit.outputs]:
        pytest.skip(f"{kit.name} has no {absent[0]}")


def similarity(kit: Kit, sign: str, changed: float = 0.0) -> torch.Tensor:
    image = kit.inputs["image_emb"].clone()
    image[0, :, 0] += changed
    return query_max(image, kit.inputs[f"txt_{sign}"])


def test_the_best_query_counts(kit):
    needs(kit, "similarity")
    close(similarity(kit, "pos"), kit.outputs["similarity"], 1e-9)


def test_for_less_against(kit):
    needs(kit, "zero_shot_score")
    close(similarity(kit, "pos") - similarity(kit, "neg"), kit.outputs["zero_shot_score"], 1e-9)


def same(mine: np.ndarray, theirs: torch.Tensor) -> None:
    np.testing.assert_array_equal(mine.astype(np.int64), theirs.numpy().astype(np.int64))


def test_films_to_the_number(kit):
    needs(kit, "shifted", "shifted_rescaled", "rescaled")
    signed, unsigned = kit.inputs["raw_int16"].numpy(), kit.inputs["raw_uint16"].numpy()
    same(wide_grey.shifted(signed), kit.outputs["shifted"])
    same(wide_grey.stretched(wide_grey.shifted(signed)), kit.outputs["shifted_rescaled"])
    same(wide_grey.stretched(unsigned), kit.outputs["rescaled"])


def test_windows(kit):
    needs(kit, "windowed")
    """A DICOM window that is LINEAR (PS3.3 C.11.2.1.2), as our reader gives it: black and white."""
    centre, width = kit.sizes.wc, kit.sizes.ww
    black, white = centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2
    mine = wide_grey.windowed(kit.inputs["raw_int16"].numpy().astype(np.float64), black, white)
    same(mine, kit.outputs["windowed"])


def test_texts_without_their_ends(kit):
    needs(kit, "qformer_ids", "qformer_paddings")
    read = endless(Tokens(kit.inputs["bert_ids"].long(), kit.inputs["bert_mask"].bool()), PAPER.end)
    same(read.ids.numpy(), kit.outputs["qformer_ids"])
    close((~read.mask).float(), kit.outputs["qformer_paddings"])


def test_a_perturbed_input_shows(kit):
    needs(kit, "similarity")
    with pytest.raises(AssertionError, match="differs by"):
        close(similarity(kit, "pos", changed=3.0), kit.outputs["similarity"])
