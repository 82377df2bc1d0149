"""Self-distillation: each term by its definition, in loops; balance, masks, the running mean, the hidden patches."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from hilum.nn.vit import Vit, VitConfig
from hilum.objectives.distill import (
    STUDENT,
    Centre,
    balanced,
    class_distillation,
    crowding,
    follow,
    patch_distillation,
)
from hilum.parts.self_distillation import PrototypeHead, SelfDistilled, block_mask

SMALL = VitConfig(image_size=32, patch=8, dim=24, depth=2, heads=2, registers=1, layer_scale=0.5, mlp="swiglu")


def student(config: VitConfig = SMALL, prototypes: int = 12) -> SelfDistilled:
    torch.manual_seed(0)
    heads = [PrototypeHead(config.dim, prototypes, hidden=32, narrow=8) for _ in range(2)]
    return SelfDistilled(Vit(config), *heads)


def entropy(wanted: torch.Tensor, scores: torch.Tensor) -> float:
    said = [float(value) / STUDENT for value in scores]
    total = math.log(sum(math.exp(value) for value in said))
    return -sum(float(w) * (value - total) for w, value in zip(wanted, said, strict=True))


def test_class_terms_by_hand():
    """Two large and one small view; a teacher's view is never compared with the student's same view."""
    torch.manual_seed(0)
    scores = [torch.randn(4, 6) for _ in range(3)]
    wanted = [torch.randn(4, 6).softmax(-1) for _ in range(2)]
    pairs = [(0, 1), (1, 0), (2, 0), (2, 1)]
    by_hand = [entropy(wanted[t][row], scores[s][row]) for s, t in pairs for row in range(4)]
    assert float(class_distillation(scores, wanted)) == pytest.approx(np.mean(by_hand), rel=1e-5)
    with pytest.raises(ValueError, match="at least two views"):
        class_distillation(scores[:1], wanted[:1])


def test_patch_terms_by_hand():
    """A picture without hidden patches counts in the mean, as in DINOv2."""
    torch.manual_seed(0)
    hidden = torch.tensor([[True, False, True, True], [False, False, False, False], [False, True, False, False]])
    scores, wanted = torch.randn(4, 5), torch.randn(4, 5).softmax(-1)
    each = [entropy(wanted[row], scores[row]) for row in range(4)]
    expected = (np.mean(each[:3]) + each[3]) / 3
    assert float(patch_distillation(scores, wanted, hidden)) == pytest.approx(expected, rel=1e-5)


def test_crowding_by_hand():
    features = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    unit = features / features.norm(dim=1, keepdim=True)
    nearest = [min(float((unit[i] - unit[j]).norm()) for j in range(6) if j != i) for i in range(6)]
    assert float(crowding(features)) == pytest.approx(-np.mean(np.log(nearest)), rel=1e-5)
    doubled = torch.cat([features, features + 1e-4])
    assert crowding(doubled) > crowding(features)  # near twins are dear


def test_crowding_survives_twins():
    features = torch.ones(3, 4, requires_grad=True)
    crowding(features).backward()
    assert features.grad.isfinite().all()


def test_balanced_probabilities_use_every_prototype_alike():
    scores = torch.randn(64, 8, generator=torch.Generator().manual_seed(0)) + 3 * torch.eye(8)[0]
    share = balanced(scores, 0.5, rounds=50)
    torch.testing.assert_close(share.sum(1), torch.ones(64))
    torch.testing.assert_close(share.sum(0), torch.full((8,), 8.0), rtol=1e-3, atol=1e-3)
    few = balanced(scores, 0.5)
    torch.testing.assert_close(few.sum(1), torch.ones(64))
    plain = (scores / 0.5).softmax(-1)
    assert few.sum(0).std() < 0.1 * plain.sum(0).std()
    assert balanced(torch.tensor([[1.0, -1.0], [1.0, -1.0]]), 0.001).isfinite().all()


def test_a_centre_moves_towards_the_mean_in_training_alone():
    centre, scores = Centre(4), torch.tensor([[1.0, 2, 3, 4], [3.0, 2, 1, 0]])
    torch.testing.assert_close(centre(scores, 0.5), (scores / 0.5).softmax(-1))
    torch.testing.assert_close(centre.mean, 0.1 * scores.mean(0))
    centre.eval()
    torch.testing.assert_close(centre(scores, 0.5), ((scores - 0.1 * scores.mean(0)) / 0.5).softmax(-1))
    torch.testing.assert_close(centre.mean, 0.1 * scores.mean(0))


def test_the_teacher_follows():
    one = student()
    other = one.teacher()
    assert not any(weight.requires_grad for weight in other.parameters())
    with torch.no_grad():
        for weight in one.parameters():
            weight.add_(1.0)
    before = [weight.clone() for weight in other.parameters()]
    follow(other, one, 0.75)
    for old, new in zip(before, other.parameters(), strict=True):
        torch.testing.assert_close(new, old + 0.25)


def test_without_hidden_patches_it_is_the_encoder():
    model = student().eval()
    pixels = torch.randn(2, 3, 32, 32)
    tokens = model.encoder(pixels)
    for hidden in (None, torch.zeros(2, 16, dtype=torch.bool)):
        classes, patches = model(pixels, hidden)
        torch.testing.assert_close(classes, tokens[:, 0])
        torch.testing.assert_close(patches, tokens[:, 2:])


def test_what_is_hidden_cannot_be_seen():
    """Other pixels under the hidden patches change nothing; where patches are hidden does."""
    model = student().eval()
    hidden = torch.zeros(1, 16, dtype=torch.bool)
    hidden[0, [0, 5]] = True
    pixels = torch.randn(1, 3, 32, 32)
    other = pixels.clone()
    other[..., :8, :8] = 9.0
    other[..., 8:16, 8:16] = -9.0
    torch.testing.assert_close(model(pixels, hidden)[0], model(other, hidden)[0])
    assert not torch.allclose(model(pixels, hidden)[0], model(pixels, hidden.roll(1, 1))[0])
    assert not torch.allclose(model(pixels)[0], model(other)[0])


@pytest.mark.parametrize("grid", [(16, 16), (4, 4), (3, 9), (1, 1)])
def test_masks_have_their_count_and_come_in_blocks(grid):
    rng = np.random.default_rng(0)
    for count in range(grid[0] * grid[1] + 1):
        assert block_mask(grid, count, rng).sum() == count
    if grid == (16, 16):
        masks = [block_mask(grid, 64, rng) for _ in range(50)]
        together = np.mean([(mask[:, 1:] & mask[:, :-1]).sum() / mask.sum() for mask in masks])
        assert together > 0.5  # of hidden patches that are spread at random a quarter have a hidden right neighbour
    with pytest.raises(ValueError, match="cannot be hidden"):
        block_mask(grid, grid[0] * grid[1] + 1, rng)


def test_prototypes_are_met_by_cosine():
    head = PrototypeHead(6, 4, hidden=8, narrow=3)
    scores = head(torch.randn(5, 6))
    assert scores.shape == (5, 4)
    assert (scores.abs() <= 1 + 1e-6).all()
    torch.testing.assert_close(
        head(torch.ones(1, 6)),
        nn.functional.linear(
            nn.functional.normalize(head.mlp(torch.ones(1, 6))), nn.functional.normalize(head.prototypes)
        ),
    )
