"""`hilum check`: trained weights are told from random ones by what they draw, and the demo pairs are what they say."""

from typing import ClassVar, Self

import numpy as np
import pytest
import torch
from capabilities.threshold import Threshold
from scipy import ndimage
from torch import nn

from hilum import registry
from hilum.bench.check import Score, Verdict, check, random_weights
from hilum.bench.demo_pairs import demos, filled, phantom
from hilum.bench.measure import dice, ellipse
from hilum.capabilities.look import Seen, tensors
from hilum.systems.sam_study import SamStudy
from hilum.values.answers import PlaneMask
from hilum.values.card import Card
from hilum.values.errors import BadInput
from hilum.values.image import Image
from hilum.values.prompts import PlanePrompt


class Sighted(Threshold):
    """Draws what differs from the background in the box if its one weight is 1, and noise with any other weight."""

    card: ClassVar[Card] = Threshold.card

    @classmethod
    def build(cls, config: None) -> nn.Module:
        return nn.Linear(1, 1)

    @classmethod
    def tiny(cls, seed: int = 0) -> Self:
        system = cls(nn.Linear(1, 1), None)
        nn.init.constant_(system.network.weight, float(seed))
        return system

    def see(self, plane: Image) -> Seen:
        return tensors(grey=torch.from_numpy(plane.array[0].astype(np.float32)))

    def draw(self, seen: Seen, prompt: PlanePrompt) -> PlaneMask:
        grey = seen["grey"].numpy()
        smooth = ndimage.gaussian_filter(grey, 1.5)
        sees = self.network.weight.item() == 1.0
        drawn = abs(smooth - np.median(grey)) > 20 if sees else np.random.default_rng(0).random(grey.shape) > 0.9
        (left, top), (right, bottom) = prompt.box.astype(int)
        inside = np.zeros(grey.shape, dtype=bool)
        inside[top : bottom + 1, left : right + 1] = True
        return PlaneMask((drawn & inside).astype(np.float32), 1.0)


def test_trained_weights_answer_as_trained_weights_do():
    verdict = check(Sighted.tiny(1), [phantom()])
    system, untrained, floor = verdict.means
    assert system > 0.95 > floor > untrained
    assert not verdict.like_random
    assert "answers as trained weights do" in verdict.sentence()


def test_other_weights_load_but_answer_like_random_ones():
    verdict = check(Sighted.tiny(0), [phantom()])
    assert verdict.like_random
    said = verdict.sentence()
    assert "loads, but answers like random weights" in said
    for value in verdict.means:
        assert f"{value:.2f}" in said


def test_an_untrained_sam_is_found_on_every_demo_pair():
    verdict = check(SamStudy.tiny(1))
    assert verdict.like_random
    assert {score.picture for score in verdict.scores} == {"abdominal MR", "CT of the head", "phantom"}
    assert len(verdict.scores) == 13


def verdict(system: float, untrained: float, floor: float) -> Verdict:
    return Verdict("some.tag", "box", (Score("a", "b", system, untrained, floor),))


@pytest.mark.parametrize(
    ("numbers", "like_random", "sentence"),
    [
        ((0.90, 0.10, 0.80), False, "answers as trained weights do"),
        ((0.60, 0.10, 0.80), False, "worse than an ellipse"),
        ((0.40, 0.10, 0.80), True, "like random weights"),
        ((0.80, 0.85, 0.80), True, "like random weights"),
        ((0.95, 0.85, 0.80), False, "answers as trained weights do"),
    ],
)
def test_the_verdict_is_by_three_numbers(numbers, like_random, sentence):
    assert verdict(*numbers).like_random is like_random
    assert sentence in verdict(*numbers).sentence()


def test_random_weights_are_the_same_each_time_and_not_the_systems_own():
    system = SamStudy.tiny(3)
    first, again = random_weights(system, 0), random_weights(system, 0)
    own, made, same = (each.network.state_dict() for each in (system, first, again))
    assert all(torch.equal(made[name], same[name]) for name in made)
    assert not all(torch.equal(made[name], own[name]) for name in made)


def test_a_system_without_boxes_or_clicks_is_refused_with_a_sentence():
    system = SamStudy.tiny()
    system.network = None
    with pytest.raises(BadInput, match="cannot be checked"):
        check(system)


def test_pictures_are_chosen_by_the_cards_modality():
    assert [demo.title for demo in demos(registry.card("medsam"))] == ["abdominal MR", "CT of the head", "phantom"]
    from dataclasses import replace

    assert [demo.title for demo in demos(replace(registry.card("medsam"), modalities=("US",)))] == ["phantom"]


def test_outlines_lie_on_edges_of_their_pictures():
    """Just inside and just outside of an outline the picture differs, for every structure drawn by hand."""
    for demo in demos(registry.card("medsam")):
        grey = demo.image.display(demo.image.array).mean(axis=0)
        for structure in demo.structures:
            inside = structure.truth & ~ndimage.binary_erosion(structure.truth, iterations=4)
            outside = ndimage.binary_dilation(structure.truth, iterations=4) & ~structure.truth
            gap = abs(np.median(grey[inside]) - np.median(grey[outside]))
            assert gap > 0.12, (demo.title, structure.name, gap)


def test_structures_are_whole_and_the_ellipse_is_no_perfect_answer():
    for demo in demos(registry.card("medsam")):
        for structure in demo.structures:
            assert ndimage.label(structure.truth)[1] == 1, structure.name
            floor = dice(structure.truth, ellipse(*structure.corners, structure.truth.shape))
            assert 0.5 < floor < 0.99, structure.name
            (x, y), *rest = structure.click().at
            assert structure.truth[round(y), round(x)]
            assert rest == []


def test_an_outline_is_filled_by_pixel_centres():
    square = filled(np.array([[1.5, 0.5], [4.5, 0.5], [4.5, 2.5], [1.5, 2.5]]), (4, 6))
    wanted = np.zeros((4, 6), dtype=bool)
    wanted[1:3, 2:5] = True
    assert (square == wanted).all()
