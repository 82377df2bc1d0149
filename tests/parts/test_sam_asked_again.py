"""Many prompts for one image: what they share is made once, and the answers are those of the plain way."""

import copy

import pytest
import torch
from torch import nn

from hilum.parts.remembered import Remembered
from hilum.parts.sam import TINY, Sam, sam
from hilum.parts.sam_prompt_encoder import SamPrompts

PROMPTS = {
    "nothing": SamPrompts(),
    "box": SamPrompts(boxes=torch.tensor([[5.0, 9.0, 40.0, 51.0]])),
    "clicks": SamPrompts(torch.tensor([[[8.0, 9.0], [30.0, 31.0]]]), torch.tensor([[True, False]])),
}


@pytest.fixture
def network() -> Sam:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        made = sam(TINY)
        for weight in made.parameters():
            nn.init.normal_(weight, std=0.1)
    return made.eval()


@pytest.fixture
def embedding() -> torch.Tensor:
    return torch.randn(1, 32, 8, 8, generator=torch.Generator().manual_seed(4))


@torch.inference_mode()
def again(network, embedding, prompts, **options):
    return network.ask(embedding, prompts, **options)


@torch.no_grad()
def plainly(network, embedding, prompts, **options):
    return network.ask(embedding, prompts, **options)


def assert_same(mine, wanted):
    for one, other in zip(mine, wanted, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("kind", PROMPTS)
def test_the_answer_is_that_of_the_plain_way(network, embedding, kind):
    assert network.mask_decoder.preparable()
    for _ in range(2):
        assert_same(again(network, embedding, PROMPTS[kind]), plainly(network, embedding, PROMPTS[kind]))


@pytest.mark.parametrize("way", [again, plainly])
def test_some_masks_are_those_among_all(network, embedding, way):
    masks, overlaps = way(network, embedding, PROMPTS["box"])
    some, same = way(network, embedding, PROMPTS["box"], only=slice(1, None))
    assert_same((some, same), (masks[:, 1:], overlaps))


def test_another_image_gets_its_own_answer(network, embedding):
    first = again(network, embedding, PROMPTS["box"])
    other = embedding.flip(-1).contiguous()
    assert_same(again(network, other, PROMPTS["box"]), plainly(network, other, PROMPTS["box"]))
    assert_same(again(network, embedding, PROMPTS["box"]), first)


@pytest.mark.parametrize(
    "name",
    ["prompt_encoder.no_mask", "mask_decoder.transformer.layers.0.to_image.key.weight", "mask_decoder.tokens.masks"],
)
def test_changed_weights_change_the_answer(network, embedding, name):
    before = again(network, embedding, PROMPTS["box"])[0]
    with torch.no_grad():
        network.get_parameter(name).mul_(3)
    after = again(network, embedding, PROMPTS["box"])
    assert not torch.allclose(before, after[0])
    assert_same(after, plainly(network, embedding, PROMPTS["box"]))


def test_a_copy_answers_by_its_own_weights(network, embedding):
    again(network, embedding, PROMPTS["box"])
    twin = copy.deepcopy(network)
    with torch.no_grad():
        twin.mask_decoder.transformer.layers[0].to_tokens.query.weight.mul_(3)
    assert_same(again(twin, embedding, PROMPTS["box"]), plainly(twin, embedding, PROMPTS["box"]))


def test_a_wrapped_projection_goes_the_plain_way(network, embedding):
    attention = network.mask_decoder.transformer.layers[0].to_image
    attention.key = nn.Sequential(attention.key)
    assert not network.mask_decoder.preparable()
    assert_same(again(network, embedding, PROMPTS["box"]), plainly(network, embedding, PROMPTS["box"]))


def test_it_is_made_once_for_the_same_tensors():
    last, image, calls = Remembered[int](), torch.zeros(3), []
    weight = nn.Parameter(torch.zeros(2))

    def make() -> int:
        calls.append(1)
        return len(calls)

    assert [last((image, weight), make) for _ in range(3)] == [1, 1, 1]
    with torch.no_grad():
        weight.add_(1)
    assert last((image, weight), make) == 2
    assert last((image.clone(), weight), make) == 3
    assert last((image, weight), make) == 4
    assert copy.deepcopy(last)((image, weight), make) == 5
