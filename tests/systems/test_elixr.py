"""ELIXR-B re-implemented: the public shapes, the published texts and score, what rests and what learns."""

import math

import numpy as np
import pytest
import torch

from hilum.capabilities.trainable import Captioned
from hilum.objectives.query_matching import query_max
from hilum.systems.elixr import PAPER, Elixr, sixteen_bit, texts_of
from hilum.values.image import Display, from_array
from hilum.values.prompts import Labels


def film(seed: int, shape=(90, 70)):
    values = np.random.default_rng(seed).integers(0, 4000, size=(1, *shape))
    return from_array(values.astype(np.uint16), modality="DX")


@pytest.fixture(scope="module")
def tiny():
    return Elixr.tiny()


@pytest.mark.slow
def test_the_public_shapes():
    with torch.device("meta"):
        network = Elixr.build(PAPER)
        films = torch.empty(1, 3, PAPER.side, PAPER.side)
        maps = network.film(films)
        assert maps.shape == (1, 8 * 8, 1376)
        assert network.queries(maps).shape == (1, 32, 128)
    assert PAPER.reading.context == 128


def test_the_published_texts_for_what_they_name_and_plain_ones_else():
    labels = Labels(("Pneumothorax", "nodule"))
    assert texts_of(labels) == ([("small pneumothorax",), ("nodule",)], [("no pneumothorax",), ("no nodule",)])
    own = Labels(("pneumothorax",), texts=(("air in the pleural space",),), opposites=(("no air there",),))
    assert texts_of(own) == ([("air in the pleural space",)], [("no air there",)])
    templated = Labels(("pneumothorax",), templates=("there is {}",))
    assert texts_of(templated)[0] == [("there is pneumothorax",)]


@torch.inference_mode()
def test_softmax_is_the_logistic_of_the_published_score(tiny):
    answer = tiny.ask(film(1), Labels(("pneumothorax",)))
    queries = tiny.look(film(1))
    seen = queries.seen(queries.prepared().section(), 0)["queries"]
    positive, negative = query_max(seen, tiny.encoded(["small pneumothorax", "no pneumothorax"]))[0].tolist()
    assert answer.similarity[0] == pytest.approx(positive, abs=1e-5)
    assert answer.softmax[0] == pytest.approx(1 / (1 + math.exp(negative - positive)), abs=1e-5)


def test_films_fill_16_bit_and_8_bit_ones_stay():
    image = film(2)
    assert sixteen_bit(image).min() == 0
    assert sixteen_bit(image).max() == 65535
    inverted = sixteen_bit(image.with_array(image.array, Display(0, 3999, inverted=True)))
    assert np.abs(inverted + sixteen_bit(image) - 65535).max() <= 1
    narrow = sixteen_bit(image.with_array(image.array, Display(1000, 2000)))
    assert (narrow[image.array[0] <= 1000] == 0).all()
    assert (narrow[image.array[0] >= 2000] == 65535).all()
    small = from_array(np.full((1, 4, 4), 100, np.uint8))
    assert (sixteen_bit(small) == 100 * 257).all()
    assert not sixteen_bit(from_array(np.full((1, 4, 4), 7.0))).any()


def test_texts_have_no_end(tiny):
    read = tiny.read(["edema", "no edema"])
    assert not (read.ids == tiny.config.end).any()
    assert read.mask.sum(dim=1).tolist() == [2, 3]
    assert read.ids.shape[1] == tiny.config.reading.context


def test_the_film_encoder_rests_and_all_else_learns():
    system = Elixr.tiny()
    system.network.train()
    before = {name: each.clone() for name, each in system.network.film.state_dict().items()}
    samples = [Captioned(film(1), "a large effusion"), Captioned(film(2), "clear lungs"), Captioned(film(3), "")]
    terms = system.loss(system.pairs(samples, np.random.default_rng(0)))
    terms.total.backward()
    assert set(terms.parts) == {"contrast", "matching", "telling"}
    after = system.network.film.state_dict()
    assert all(torch.equal(after[name], each) for name, each in before.items())  # its running means, too
    learning = [name for name, each in system.network.named_parameters() if each.requires_grad]
    assert not any(name.startswith("film.") for name in learning)
    assert all(system.network.get_parameter(name).grad is not None for name in learning)
    assert torch.isfinite(terms.total)


def test_one_pair_alone_has_no_negative(tiny):
    terms = tiny.loss(tiny.pairs([Captioned(film(1), "edema")], np.random.default_rng(0)))
    assert torch.isfinite(terms.total)
