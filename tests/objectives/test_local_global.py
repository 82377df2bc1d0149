"""Whole beside whole, words beside places: what is padded counts for nothing, what agrees costs less."""

import torch

from hilum.objectives.contrastive import info_nce
from hilum.objectives.local_global import Side, Temperatures, local_global, local_similarity


def side(seed: int, count: int = 4, parts: int = 5, width: int = 8) -> Side:
    generator = torch.Generator().manual_seed(seed)
    whole, each = (torch.randn(*shape, width, generator=generator) for shape in ((count,), (count, parts)))
    return Side(whole, each, torch.ones(count, parts, dtype=torch.bool))


def padded(given: Side, extra: int = 3) -> Side:
    rubbish = torch.full((len(given.parts), extra, given.parts.shape[2]), 7.0)
    absent = torch.zeros(len(given.parts), extra, dtype=torch.bool)
    return Side(given.whole, torch.cat([given.parts, rubbish], 1), torch.cat([given.present, absent], 1))


def test_the_global_part_is_info_nce_of_cosines():
    image, text = side(0), side(1)
    cosines = torch.nn.functional.cosine_similarity(image.whole[:, None], text.whole[None], dim=-1)
    torch.testing.assert_close(local_global(image, text)["global"], info_nce(cosines / Temperatures().whole))


def test_absent_words_and_places_count_for_nothing():
    image, text, by = side(0), side(1), Temperatures()
    torch.testing.assert_close(local_similarity(padded(image), padded(text), by), local_similarity(image, text, by))


def test_the_order_of_words_and_places_does_not_matter():
    image, text, by = side(0), side(1), Temperatures()
    turned = Side(text.whole, text.parts.flip(1), text.present)
    torch.testing.assert_close(local_similarity(image, turned, by), local_similarity(image, text, by))


def test_words_that_are_there_as_places_agree_more_than_others():
    image = side(0)
    similarity = local_similarity(image, Side(image.whole, image.parts[:, :3], image.present[:, :3]), Temperatures())
    assert (similarity.argmax(dim=1) == torch.arange(4)).all()
    assert local_global(image, image)["local"] < local_global(image, side(1))["local"]


def test_the_weight_scales_the_local_part_alone():
    image, text = side(0), side(1)
    half, whole = (local_global(image, text, local=weight) for weight in (0.5, 1.0))
    torch.testing.assert_close(2 * half["local"], whole["local"])
    torch.testing.assert_close(half["global"], whole["global"])
