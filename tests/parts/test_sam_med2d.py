"""SAM-Med2D's own parts: the adapter by its formula, the square, how training asks, weights of another size."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from hilum.parts import sam_med2d_rounds as rounds
from hilum.parts.sam_med2d_adapter import Adapter, Idle
from hilum.parts.sam_med2d_frame import Med2dFrame, nearest
from hilum.parts.sam_other_size import KEPT, at_size_of
from hilum.values.errors import BadInput
from hilum.values.prompts import PlanePrompt


@pytest.mark.parametrize(("width", "hidden", "rows", "columns"), [(12, 3, 4, 6), (10, 2, 8, 8)])
def test_the_adapter_is_its_formula(width, hidden, rows, columns):
    """LN(y + relu(deconv(relu(conv(g y))))), g = sigmoid(W2 relu(W1 mean y)), cell by cell."""
    torch.manual_seed(0)
    adapter, y = Adapter(width, hidden), torch.randn(2, rows, columns, width)
    narrow, wide = adapter.channel[0].weight, adapter.channel[2].weight
    gate = torch.sigmoid(F.relu(y.flatten(1, 2).mean(1) @ narrow.T) @ wide.T)
    down = F.conv2d((y * gate[:, None, None]).permute(0, 3, 1, 2), adapter.spatial[0].weight, stride=2, padding=1)
    up = F.conv_transpose2d(F.relu(down), adapter.spatial[2].weight, stride=2, padding=1)
    detoured = y + F.relu(up).permute(0, 2, 3, 1)
    mean, spread = detoured.mean(-1, keepdim=True), detoured.var(-1, unbiased=False, keepdim=True)
    expected = (detoured - mean) / (spread + 1e-5).sqrt() * adapter.norm.weight + adapter.norm.bias
    assert torch.allclose(adapter(y), expected, atol=1e-5)
    assert {name for name, _ in adapter.named_parameters() if "bias" in name} == {"norm.bias"}


def test_an_idle_adapter_keeps_its_names_and_adds_nothing():
    adapter = Adapter(8, 2)
    idle = Idle(adapter)
    assert idle.state_dict().keys() == adapter.state_dict().keys()
    y = torch.randn(1, 4, 4, 8)
    assert torch.equal(y + idle(y), y)
    assert not any(weight.requires_grad for weight in idle.parameters())


def test_neighbours_are_opencvs():
    """Pinned from OpenCV 5.0's INTER_NEAREST, where rounding tells its arithmetic from exact fractions."""
    assert nearest(186, 256)[[127, 128, 129]].tolist() == [92, 92, 93]
    assert nearest(372, 64)[[16, 32, 48]].tolist() == [92, 185, 278]
    assert nearest(64, 64).tolist() == list(range(64))
    assert nearest(3, 8).tolist() == [0, 0, 0, 1, 1, 1, 2, 2]


def test_small_pictures_lie_in_the_middle_between_zeros():
    frame = Med2dFrame(19, 40, 64, padded=True)
    pixels = frame.pixels(np.full((1, 19, 40), 255, np.uint8))
    assert pixels.shape == (1, 3, 64, 64)
    assert frame.corner == (22, 12)
    assert (pixels[..., :22, :] == 0).all()
    assert (pixels[..., 41:, :] == 0).all()
    expected = [(255 - mean) / spread for mean, spread in ((123.675, 58.395), (116.28, 57.12), (103.53, 57.375))]
    assert pixels[0, :, 30, 30].tolist() == pytest.approx(expected)
    assert frame.placed(np.array([[0.0, 0.0], [39.0, 18.0]])).tolist() == [[12, 22], [51, 40]]


def test_other_pictures_fill_the_square_each_axis_on_its_own():
    frame = Med2dFrame(32, 128, 64, padded=False)
    values = np.arange(128, dtype=np.uint8)[None, None].repeat(32, axis=1)
    pixels = frame.pixels(values)[0, 0] * 58.395 + 123.675
    assert torch.allclose(pixels[5], torch.arange(0, 128, 2).float(), atol=1e-4)
    assert frame.placed(np.array([[64.0, 16.0]])).tolist() == [[32, 32]]


def test_a_picture_too_large_is_not_padded():
    with pytest.raises(ValueError, match="cannot lie within a square of 64"):
        Med2dFrame(32, 65, 64, padded=True)


@pytest.mark.parametrize("padded", [True, False])
def test_a_users_box_gets_its_high_corner_one_pixel_beyond(padded):
    frame = Med2dFrame(32, 32, 64, padded)
    scale, shift = (1, 16) if padded else (2, 0)
    box = frame.prompts(PlanePrompt(box=np.array([[3.0, 4.0], [9.0, 7.0]])), cells=16).boxes
    assert box.tolist() == [[value * scale + shift for value in (3, 4, 10, 8)]]


@pytest.mark.parametrize(("height", "width", "padded"), [(40, 28, True), (80, 48, False)])
def test_a_mask_prompt_is_a_probability_and_survives_the_way(height, width, padded):
    frame = Med2dFrame(height, width, 64, padded)
    y, x = np.indices((height, width))
    mask = ((y - height / 2) ** 2 / (height / 4) ** 2 + (x - width / 2) ** 2 / (width / 4) ** 2 < 1).astype(np.float32)
    read = frame.prompts(PlanePrompt(mask=mask), cells=16).masks
    assert read.shape == (1, 1, 16, 16)
    assert float(read.min()) >= 0
    assert float(read.max()) <= 1
    back = frame.restored(read)[0, 0].numpy() > 0.5
    assert 2 * (back & (mask > 0)).sum() / (back.sum() + mask.sum()) > 0.85


def test_masks_and_pictures_lie_in_the_same_place():
    rng = np.random.default_rng(0)
    for size, padded in (((50, 31), True), ((90, 47), False)):
        frame = Med2dFrame(*size, 64, padded)
        mask = rng.random((1, *size)) > 0.5
        seen = frame.pixels((mask * 255).astype(np.uint8))[0, 0]
        assert np.array_equal(frame.square(mask)[0], (seen > 1).numpy())


def blob(side: int, middle: tuple[int, int], radius: int) -> np.ndarray:
    y, x = np.indices((side, side))
    return (x - middle[0]) ** 2 + (y - middle[1]) ** 2 <= radius**2


def test_the_box_is_that_of_the_largest_part_and_moves_as_a_whole():
    mask = blob(64, (20, 30), 9) | blob(64, (50, 8), 3)
    assert rounds.exclusive_box(mask).tolist() == [[11, 21], [30, 40]]
    drawn = np.array([rounds.shifted_box(mask, np.random.default_rng(seed)) for seed in range(400)])
    moved = drawn - rounds.exclusive_box(mask)
    assert (moved[:, 0] == moved[:, 1]).all()
    assert sorted(set(moved[:, 0, 0])) == sorted(set(moved[:, 0, 1])) == list(range(-5, 5))
    small = np.zeros((64, 64), bool)
    small[5:7, 5:30] = True
    moved = np.array([rounds.shifted_box(small, np.random.default_rng(seed)) for seed in range(60)])
    assert sorted(set((moved - rounds.exclusive_box(small))[:, 0, 0])) == [-1, 0]
    single = np.zeros((64, 64), bool)
    single[3, 4] = True
    assert rounds.shifted_box(single, np.random.default_rng(0)).tolist() == [[4, 3], [5, 4]]


def test_the_first_round_is_a_box_or_a_click_for_all():
    masks = np.stack([blob(64, (20, 30), 9), blob(64, (40, 40), 6)])
    kinds = []
    for seed in range(100):
        prompts = rounds.opening(masks, np.random.default_rng(seed))
        kinds.append(prompts.boxes is None)
        if prompts.points is not None:
            assert prompts.inside.all()
            for mask, (x, y) in zip(masks, prompts.points[:, 0].long().tolist(), strict=True):
                assert mask[y, x]
    assert 30 < sum(kinds) < 70


def test_corrections_lie_in_the_error_and_say_what_is_right_there():
    truth, guess = blob(32, (12, 12), 6), blob(32, (16, 12), 6)
    masks = torch.from_numpy(np.stack([truth, truth])[:, None]).float()
    logits = torch.from_numpy(np.stack([guess, truth])[:, None]).float() * 8 - 4
    low = torch.randn(2, 1, 8, 8, requires_grad=True)
    counts = set()
    for seed in range(40):
        said = rounds.correction(masks, logits, low, np.random.default_rng(seed))
        counts.add(said.points.shape[1])
        assert said.boxes is None
        assert torch.equal(said.masks, low.detach().sigmoid())
        assert not said.masks.requires_grad
        assert said.present[0].all()
        assert not said.present[1].any()  # nothing is wrong there: points that are none
        for (x, y), inside in zip(said.points[0].long().tolist(), said.inside[0].tolist(), strict=True):
            assert truth[y, x] != guess[y, x]
            assert truth[y, x] == inside
    assert counts == set(rounds.COUNTS)


def test_the_mask_speaks_alone_in_the_last_round_and_once_before():
    drawn = [rounds.mask_alone(8, np.random.default_rng(seed)) for seed in range(200)]
    assert all(7 in each and len(each) == 2 for each in drawn)
    assert {min(each) for each in drawn} == set(range(1, 7))
    with pytest.raises(ValueError, match="wanted 3 or more"):
        rounds.mask_alone(2, np.random.default_rng(0))


def tensors(grid: int, window: int, seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = {
        "image_encoder.position": (1, grid, grid, 4),
        "image_encoder.blocks.0.attend.attention.relative.rows": (2 * window - 1, 2),
        "image_encoder.blocks.1.attend.attention.relative.columns": (2 * grid - 1, 2),
        "mask_decoder.tokens.masks": (4, 4),
        "mask_decoder.quality_head.layers.0.weight": (4, 4),
        "mask_decoder.tokens.quality": (1, 4),
    }
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def test_weights_of_another_size_are_taken_but_for_the_decoders_heads():
    own, source = tensors(4, 3, 0), tensors(8, 3, 1)
    own["image_encoder.blocks.0.transform.beside.norm.bias"] = torch.randn(4)
    made = at_size_of(own, source)
    assert {name: each.shape for name, each in made.items()} == {name: each.shape for name, each in own.items()}
    for name in own:
        fresh = name.startswith(KEPT) or "beside" in name
        assert torch.equal(made[name], own[name]) == fresh, name
    rows = "image_encoder.blocks.0.attend.attention.relative.rows"
    assert torch.equal(made[rows], source[rows])  # windows have the same size


def test_weights_of_the_same_size_are_taken_whole():
    own, source = tensors(4, 3, 0), tensors(4, 3, 1)
    assert all(torch.equal(made, source[name]) for name, made in at_size_of(own, source).items())


def test_weights_of_another_network_are_refused():
    own, source = tensors(4, 3, 0), tensors(4, 3, 1)
    with pytest.raises(BadInput, match="no place in the network, such as strange"):
        at_size_of(own, {**source, "strange": torch.zeros(1)})
    with pytest.raises(BadInput, match="only tables of positions can be resized"):
        at_size_of(own, {**source, "mask_decoder.tokens.quality": torch.zeros(1, 5)})
