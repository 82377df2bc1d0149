"""The explanation of a matcher that has learned something is true: it beats a random map and a centred Gaussian, it
tells labels apart, and it goes when the weights go. The matcher is trained here, in seconds."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from hilum.bench.faithfulness import RIVALS, Case, agreement, area, centred, measured, mixed, randomised, ranks
from hilum.capabilities.explain import by_occlusion, explain
from hilum.capabilities.occlusion import Rescored, blurred
from hilum.capabilities.relevance import shares
from hilum.nn.vit import VitConfig
from hilum.parts.bert import BertSizes, first
from hilum.parts.tokens import Reading
from hilum.systems.biomedclip import TEMPLATES, BiomedClip, BiomedClipConfig
from hilum.values.image import from_array
from hilum.values.prompts import Labels

SIDE, BATCH, ROUNDS, RATE = 48, 24, 100, 1e-3
SMALL = BiomedClipConfig(
    VitConfig(image_size=SIDE, patch=6, dim=48, depth=3, heads=3),
    BertSizes(vocabulary=200, width=32, layers=1, heads=2, hidden=48, positions=24),
    Reading("hashed", 24, whole=True, size=200),
    embed=16,
)
NAMES = ("a bright disc", "a dark square", "nothing")
LABELS = Labels(NAMES[:2])


def drawn(kinds, rng):
    """A cloudy picture with a disc (0), a square (1), or both, at places of their own; and where each of them is."""
    down, across = np.ogrid[:SIDE, :SIDE]
    clouds = torch.from_numpy(rng.normal(110, 20, (1, 1, 6, 6)))
    picture = F.interpolate(clouds, size=(SIDE, SIDE), mode="bilinear")[0, 0].numpy() + rng.normal(0, 6, (SIDE, SIDE))
    there: dict[int, np.ndarray] = {}
    while len(there) < len(kinds):
        kind, radius = kinds[len(there)], rng.uniform(5, 7)
        y, x = rng.uniform(radius, SIDE - radius, 2)
        away = np.hypot(down - y, across - x) if kind == 0 else np.maximum(abs(down - y), abs(across - x)) / 0.886
        if not any((mask & (away < 2 * radius)).any() for mask in there.values()):
            there[kind] = away < radius
            picture[there[kind]] = rng.uniform(*((180, 230), (0, 40))[kind])
    return np.clip(picture, 0, 255).astype(np.uint8), there


@pytest.fixture(scope="module")
def trained():
    """BiomedCLIP with a small ViT, taught to show what the captions say; their vectors stay where they are put."""
    system, rng = BiomedClip.seeded(SMALL, 0), np.random.default_rng(0)
    tower = system.network.visual.train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for part in tower.trunk.blocks.modules():
            if isinstance(part, torch.nn.Linear):
                torch.nn.init.xavier_uniform_(part.weight)
    captions = apart(system)
    learner = torch.optim.AdamW(tower.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(learner, RATE, total_steps=ROUNDS)
    for _ in range(ROUNDS):
        own = rng.integers(0, 3, BATCH)
        films = [from_array(drawn((kind,) if kind < 2 else (), rng)[0][None]) for kind in own]
        images = tower(torch.cat([system.pixels(system.prepare(film)) for film in films]))
        loss = F.cross_entropy(10 * F.normalize(images, dim=-1) @ captions.T, torch.from_numpy(own))
        learner.zero_grad()
        loss.backward()
        learner.step()
        schedule.step()
    system.network.eval()
    assert loss < 0.5
    return system


@torch.no_grad()
def apart(system):
    """The captions' vectors, turned at right angles: those of a BERT that learned nothing are almost one."""
    texts, ids = system.network.text, system.read([TEMPLATES[0].format(name) for name in NAMES])
    states = texts.proj[:2](first(texts.transformer, ids, ids != texts.pad))
    texts.proj[2].weight.copy_((torch.linalg.pinv(states) @ torch.eye(3, 16)).T)
    return F.normalize(texts(ids), dim=-1)


def cases(count, seed=7):
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, 2, count)
    return [Case(from_array(drawn((kind,), rng)[0][None]), NAMES[kind], LABELS) for kind in kinds]


@pytest.mark.slow
def test_deletion_and_insertion_beat_chance_and_the_middle(trained):
    found = measured(trained, cases(12), steps=8)
    for rival in RIVALS:
        assert found.deletion(rival)[0] > 0, rival
        assert found.insertion(rival)[0] > 0, rival


@pytest.mark.slow
@pytest.mark.parametrize("margins", [((0, 0), (0, 0)), ((0, 0), (12, 16)), ((20, 10), (0, 0))])
def test_each_label_points_to_its_own_object_wherever_the_picture_is_cut(trained, margins):
    """Both objects are in the picture, which was never so in training; the margins (mirror images) are not seen."""
    rng, hits, told = np.random.default_rng(3), [], []
    for _ in range(6):
        picture, there = drawn((0, 1), rng)
        look = trained.look(from_array(np.pad(picture, margins, mode="symmetric")[None]))
        found = explain(look, (LABELS,), look.ask(LABELS))
        masks = {kind: np.pad(mask, margins) for kind, mask in there.items()}
        for kind in (0, 1):
            own, other = (found.maps[kind][masks[which]].mean() for which in (kind, 1 - kind))
            told.append(own > other)
            x, y = found.peak(kind)
            hits.append(np.hypot(*(np.argwhere(masks[kind]) - [y, x]).T).min() <= 6)  # a patch
    assert np.mean(told) > 0.9
    assert np.mean(hits) > 0.8


@pytest.mark.slow
def test_shares_add_up_to_what_the_picture_has_over_the_blurred_one(trained):
    for case in cases(3):
        look = trained.look(case.image)
        scored = Rescored(look, (LABELS,))
        sharp, smooth = scored.of([scored.plane.array, blurred(scored.plane.array)])
        found = shares(trained, scored.plane, LABELS)
        np.testing.assert_allclose(found.pixels.sum(dim=(1, 2)), sharp - smooth, atol=0.05)
        np.testing.assert_allclose(found.cells().sum(axis=(1, 2)), found.pixels.sum(dim=(1, 2)), rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_occlusion_which_knows_no_network_says_the_same(trained):
    for case in cases(4, seed=11):
        look = trained.look(case.image)
        place = LABELS.names.index(case.label)
        gradient = explain(look, (LABELS,), look.ask(LABELS)).maps[place]
        occlusion = by_occlusion(Rescored(look, (LABELS,))).maps[place]
        assert np.corrcoef(gradient.ravel(), occlusion.ravel())[0, 1] > 0.4


@pytest.mark.slow
def test_random_weights_have_another_map(trained):
    some = cases(6, seed=5)
    assert agreement(trained, trained, some) == pytest.approx(1.0)
    assert abs(agreement(trained, randomised(trained), some)) < 0.5


# The measure itself


def test_pixels_leave_in_the_maps_order_and_equals_by_chance():
    found = np.array([[0.0, 3.0], [3.0, 1.0]])
    orders = [ranks(found, np.random.default_rng(seed)) for seed in range(20)]
    assert all(order[1, 1] == 2 and order[0, 0] == 3 for order in orders)
    assert {int(order[0, 1]) for order in orders} == {0, 1}


def test_the_way_begins_with_the_old_picture_and_ends_with_the_new():
    old, new = np.zeros((1, 5, 5), np.uint8), np.ones((1, 5, 5), np.uint8)
    way = mixed(new, old, np.arange(25).reshape(5, 5), 5)
    assert [int(each.sum()) for each in way] == [0, 5, 10, 15, 20, 25]


def test_an_area_is_the_mean_height_and_the_middle_is_in_the_middle():
    assert area(np.array([1.0, 0.5, 0.0])) == pytest.approx(0.5)
    assert area(np.full(7, 0.3)) == pytest.approx(0.3)
    bell = centred((11, 21))
    assert np.unravel_index(bell.argmax(), bell.shape) == (5, 10)
