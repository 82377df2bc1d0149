"""SAM-U against the numbers of the published aggregation on the published SAM: many boxes, one look."""

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import pytest
import torch
from parity.kit import Kit, close, nearly_same_mask
from parity.sam_sizes import sam_sizes

from hilum.bench.measure import dice
from hilum.parts.sam import SamConfig
from hilum.parts.sam_frame import SamFrame
from hilum.parts.sam_prompt_encoder import SamPrompts
from hilum.systems.sam_u import Manner, SamU, Spread
from hilum.values.image import Image, from_array
from hilum.values.prompts import PlanePrompt
from hilum.weights.rename import fill
from hilum.weights.tables.sam import UPSTREAM

KITS = ("sam-u",)
PERTURBED = [
    "image_encoder.blocks.0.attn.rel_pos_w",
    "prompt_encoder.point_embeddings.2.weight",
    "mask_decoder.transformer.layers.1.norm2.bias",
    "mask_decoder.mask_tokens.weight",
]
READINGS = {
    "mean": "uncertainty_binary_entropy_nats",
    "votes": "uncertainty_vote_entropy_nats",
    "single": "uncertainty_single_term",
}


@dataclass(frozen=True)
class Given(Manner):
    """The kit's own boxes in the place of the drawn ones."""

    fixed: np.ndarray = field(default_factory=lambda: np.zeros((0, 2, 2)))

    def around(self, box, size):
        return self.fixed


def config_of(kit: Kit) -> SamConfig:
    sizes = kit.sizes
    return sam_sizes(sizes)


def load(kit: Kit, weights) -> SamU:
    network = SamU.build(config_of(kit))
    fill(network, UPSTREAM.apply(weights))
    system = SamU(network.eval(), config_of(kit))
    return system.asking(Given(boxes=len(boxes_of(kit)), fixed=boxes_of(kit)))


def boxes_of(kit: Kit) -> np.ndarray:
    return kit.inputs["boxes_xyxy"].numpy().astype(float).reshape(-1, 2, 2)


def picture(kit: Kit) -> Image:
    return from_array(np.moveaxis(kit.inputs["raw_image_u8"].numpy(), -1, 0))  # (h, w, c) -> (c, h, w)


@lru_cache(maxsize=2)
def system(kit: Kit) -> SamU:
    return load(kit, kit.weights)


@lru_cache(maxsize=2)
def spread(kit: Kit) -> Spread:
    seen = system(kit).see(system(kit).prepare(picture(kit)))
    return Spread(np.stack([each.probability for each in system(kit).answers(seen, boxes_of(kit)[0])]))


def test_table_uses_every_weight_once_and_leads_back(kit):
    ours = UPSTREAM.apply(kit.weights)
    assert ours.keys() == system(kit).network.state_dict().keys()
    back = UPSTREAM.inverse(ours)
    assert back.keys() == kit.weights.keys()
    assert all(torch.equal(back[name], kit.weights[name]) for name in back)


def low_res_logits(kit: Kit, asked: SamU) -> torch.Tensor:
    """All boxes in one call of the decoder."""
    frame = SamFrame(*kit.sizes.raw, kit.sizes.img_size)
    boxes = frame.scaled(boxes_of(kit)).reshape(-1, 4)
    with torch.inference_mode():
        embedding = asked.see(picture(kit))["embedding"]
        return asked.network.ask(embedding, SamPrompts(boxes=boxes))[0][:, 0]


def test_one_look_answers_every_box(kit):
    close(low_res_logits(kit, system(kit)), kit.outputs["low_res_logits"])


def test_mean_deviation_and_votes(kit):
    close(spread(kit).mean, kit.outputs["mean_probability"])
    close(spread(kit).deviation, kit.outputs["std_probability"])
    flipped = np.abs(spread(kit).votes - kit.outputs["vote_fraction"].numpy()) > 1e-6
    assert flipped.mean() < 1e-3


@pytest.mark.parametrize("reading", READINGS)
def test_uncertainty(kit, reading):
    mine, theirs = spread(kit).entropy(reading), kit.outputs[READINGS[reading]]
    if reading == "votes":  # a vote may flip at one half
        assert (np.abs(mine - theirs.numpy()) > 1e-4).mean() < 1e-3
    else:
        close(mine, theirs)


def test_answer_through_the_systems_own_door(kit):
    seen = system(kit).see(system(kit).prepare(picture(kit)))
    drawn = system(kit).draw(seen, PlanePrompt(box=boxes_of(kit)[0]))
    nearly_same_mask(drawn.mask, kit.outputs["prediction_u1"])
    close(drawn.uncertainty, kit.outputs["uncertainty_binary_entropy_nats"])
    truth = kit.inputs["gt"].numpy() > 0
    assert dice(truth, drawn.mask) == pytest.approx(float(kit.outputs["dice_multibox"]), abs=2e-3)
    assert dice(truth, spread(kit).samples[0] > 0.5) == pytest.approx(float(kit.outputs["dice_single_box0"]), abs=2e-3)


@pytest.mark.parametrize("name", PERTURBED)
def test_a_perturbed_weight_is_noticed(kit, name):
    """The negative control: one element of one weight changed, and the numbers no longer agree."""
    weights = {key: value.clone() for key, value in kit.weights.items()}
    weights[name].view(-1)[0] += 0.5
    with pytest.raises(AssertionError, match="differs by"):
        close(low_res_logits(kit, load(kit, weights)), kit.outputs["low_res_logits"])
