"""SAM's parts: batches, sizes, what other systems put into the blocks, and what a fast backend needs."""

import pytest
import torch
from torch import nn

from hilum.parts import sam as parts
from hilum.parts import sam_image_encoder as encoder
from hilum.parts.sam import BASE, HUGE, LARGE, TINY, Sam, SamConfig, sam
from hilum.parts.sam_mask_decoder import CrossAttention, MaskDecoder
from hilum.parts.sam_prompt_encoder import FourierFeatures, SamPrompts


@pytest.fixture(scope="module")
def network() -> Sam:
    return random_weights(sam(TINY))


def random_weights(network: nn.Module) -> nn.Module:
    """Every weight moved, so that tables born as zeros count too."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.1 * torch.randn(weight.shape, generator=generator))
    return network.eval()


def some(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def prompts(count: int) -> SamPrompts:
    """`count` prompts of two points and a box each."""
    places = TINY.image_size * torch.rand(count, 4, generator=torch.Generator().manual_seed(2))
    boxes = torch.cat([places[:, :2].minimum(places[:, 2:]), places[:, :2].maximum(places[:, 2:])], dim=1)
    return SamPrompts(places.reshape(count, 2, 2), torch.tensor([[True, False]] * count), boxes)


def part_of(given: SamPrompts, which: slice) -> SamPrompts:
    return SamPrompts(given.points[which], given.inside[which], given.boxes[which])


@pytest.mark.parametrize(("images", "each"), [(1, 1), (1, 5), (3, 1), (2, 3)])
def test_images_times_prompts_equal_the_singles(network, images, each):
    pixels, given = some(images, 3, 64, 64), prompts(images * each)
    with torch.inference_mode():
        together, quality = network(pixels, given)
        for number in range(images * each):
            image = number // each
            alone, own = network(pixels[image : image + 1], part_of(given, slice(number, number + 1)))
            torch.testing.assert_close(together[number], alone[0], atol=1e-5, rtol=0)
            torch.testing.assert_close(quality[number], own[0], atol=1e-5, rtol=0)


def test_prompts_that_cannot_be_shared_are_refused(network):
    with pytest.raises(ValueError, match="3 prompts cannot be shared evenly by 2 images"):
        network(some(2, 3, 64, 64), prompts(3))


def test_absent_points_count_as_none(network):
    """Where an absent point lies, and whether it is marked inside, changes nothing."""
    box, present = torch.tensor([[3.0, 4.0, 50.0, 60.0]]), torch.tensor([[True, False]])
    here = torch.tensor([[[10.0, 20.0], [55.0, 5.0]]]), torch.tensor([[True, True]])
    there = torch.tensor([[[10.0, 20.0], [7.0, 61.0]]]), torch.tensor([[True, False]])
    filled, moved = (SamPrompts(points, inside, box, present=present) for points, inside in (here, there))
    with torch.inference_mode():
        embedding = network.image_encoder(some(1, 3, 64, 64))
        first, second = network.ask(embedding, filled)[0], network.ask(embedding, moved)[0]
    assert torch.equal(first, second)


def test_points_without_marks_are_refused():
    with pytest.raises(ValueError, match="points and inside belong together"):
        SamPrompts(points=torch.zeros(1, 2, 2))


@pytest.mark.parametrize(("height", "width"), [(64, 64), (96, 96), (40, 72), (8, 8)])
def test_any_size_of_image(network, height, width):
    with torch.inference_mode():
        masks, quality = network(some(1, 3, height, width), SamPrompts(boxes=torch.tensor([[1.0, 1.0, 6.0, 6.0]])))
    assert masks.shape == (1, 4, height // 2, width // 2)  # patch 8, enlarged 4 times
    assert quality.shape == (1, 4)
    assert torch.isfinite(masks).all()


def test_heads_in_pieces_are_the_heads_at_once(network, monkeypatch):
    pixels = some(2, 3, 64, 64)
    with torch.inference_mode():
        at_once = network.image_encoder(pixels)
        monkeypatch.setattr(encoder, "BIAS_AT_ONCE", 1)
        torch.testing.assert_close(network.image_encoder(pixels), at_once, atol=1e-5, rtol=0)


def test_cut_windows_join_again():
    x = some(2, 7, 10, 4)
    windows = encoder.cut_windows(x, 3)
    assert windows.shape == (2 * 3 * 4, 3, 3, 4)
    assert torch.equal(encoder.join_windows(windows, 7, 10), x)


class Zero(nn.Module):
    """An adapter at birth: there, and without effect."""

    def __init__(self, width: int):
        super().__init__()
        self.up = nn.Linear(width, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x):
        return self.up(x)


class QvLora(nn.Module):
    """Low-rank change of query and value around the fused projection."""

    def __init__(self, host: nn.Linear, rank: int = 2):
        super().__init__()
        self.host, width = host, host.in_features
        self.down, self.up = nn.Linear(width, 2 * rank, bias=False), nn.Linear(2 * rank, 2 * width, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x):
        query, value = self.up(self.down(x)).chunk(2, dim=-1)
        return self.host(x) + torch.cat([query, torch.zeros_like(query), value], dim=-1)


def adapted_block(config: SamConfig, index: int) -> encoder.Block:
    """Everything at once: LoRA on query and value, an adapter beside the MLP."""
    attention = parts.attention(config, index, wrap=QvLora)
    attend = encoder.Attend(parts.norm(config), attention, window=parts.window(config, index))
    transform = encoder.Transform(parts.norm(config), parts.mlp(config), beside=Zero(config.width))
    return encoder.Block(attend, transform)


def test_adapters_are_handed_in_and_do_nothing_at_birth(network):
    adapted = sam(TINY, block=adapted_block).eval()
    renamed = {name.replace("attention.qkv.", "attention.qkv.host."): w for name, w in network.state_dict().items()}
    left = adapted.load_state_dict(renamed, strict=False)
    assert not left.unexpected_keys
    assert all("qkv.down" in name or "qkv.up" in name or "beside" in name for name in left.missing_keys)
    with torch.inference_mode():
        pixels = some(1, 3, 64, 64)
        torch.testing.assert_close(adapted.image_encoder(pixels), network.image_encoder(pixels), atol=1e-6, rtol=0)
    for block in adapted.image_encoder.blocks:
        nn.init.normal_(block.attend.attention.qkv.up.weight)
    with torch.inference_mode():
        assert not torch.allclose(adapted.image_encoder(pixels), network.image_encoder(pixels))


def test_an_adapter_after_attention_sees_the_attention():
    """x + after(attention): with an adapter that gives zero, the branch is gone."""
    config = TINY
    block = encoder.Attend(parts.norm(config), parts.attention(config, 0), window=3, after=Zero(config.width))
    with torch.inference_mode():
        assert not block(some(1, 8, 8, config.width)).any()


def test_windows_first_differs_only_where_windows_are_padded():
    """Padded cells carry the norm's bias when windows come first; where nothing is padded the order is the same."""
    config = TINY
    norm, attention = random_weights(parts.norm(config)), random_weights(parts.attention(config, 0))
    norm_first = encoder.Attend(norm, attention, window=3)
    windows_first = encoder.AttendWindowsFirst(norm, attention, window=3)
    even, uneven = some(1, 6, 9, config.width), some(1, 7, 9, config.width)
    with torch.inference_mode():
        torch.testing.assert_close(windows_first(even), norm_first(even), atol=1e-6, rtol=0)
        assert not torch.allclose(windows_first(uneven), norm_first(uneven), atol=1e-3)


def test_positions_can_be_left_out():
    from dataclasses import replace

    without = sam(replace(TINY, positions=False))
    assert not [name for name in without.state_dict() if name.endswith("position")]
    assert without.image_encoder(some(1, 3, 64, 64)).shape == (1, TINY.channels, TINY.grid, TINY.grid)


@pytest.mark.parametrize("masks", [1, 2, 9])
def test_any_number_of_masks(masks):
    from dataclasses import replace

    network = sam(replace(TINY, masks=masks)).eval()
    with torch.inference_mode():
        logits, quality = network(some(1, 3, 64, 64), SamPrompts())
    assert logits.shape == (1, masks, 32, 32)
    assert quality.shape == (1, masks)


class ClassTokens(nn.Module):
    """A quality token and two mask tokens for each class; the classes are folded into the batch."""

    def __init__(self, classes: int, width: int):
        super().__init__()
        self.own = nn.Parameter(torch.randn(classes, 3, width))

    def forward(self, prompt):
        return self.own.repeat(len(prompt), 1, 1)


def test_tokens_per_class_fold_into_the_batch():
    """Five classes on two images: the decoder shares each image's embedding among its classes."""
    config, classes = TINY, 5
    decoder = MaskDecoder(
        ClassTokens(classes, config.channels),
        parts.two_way_transformer(config),
        parts.decoder.upscaling(config.channels),
        [parts.mask_head(config) for _ in range(2)],
        parts.decoder.ReluMlp(config.channels, config.channels, 2),
    ).eval()
    embedding, place = some(2, config.channels, 8, 8), some(1, config.channels, 8, 8, seed=4)
    nothing, dense = torch.zeros(2, 0, config.channels), torch.zeros(2, config.channels, 8, 8)
    with torch.inference_mode():
        both, _ = decoder(embedding, place, nothing, dense)
        second, _ = decoder(embedding[1:], place, nothing[1:], dense[1:])
    assert both.shape == (2 * classes, 2, 32, 32)
    torch.testing.assert_close(both[classes:], second, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("config", "parameters"), [(BASE, 93_735_472), (LARGE, None), (HUGE, None)])
def test_published_sizes(config, parameters):
    """The count of ViT-B is the published file's; L and H are built without memory."""
    with torch.device("meta"):
        network = sam(config)
    count = sum(weight.numel() for weight in network.parameters())
    assert parameters in (None, count)
    assert count > 90_000_000


@pytest.mark.slow
def test_encoder_exports_and_openvino_agrees(network):
    import openvino

    pixels = some(1, 3, 64, 64)
    exported = torch.export.export(network.image_encoder, (pixels,))
    model = openvino.Core().compile_model(openvino.convert_model(exported), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    with torch.inference_mode():
        expected = network.image_encoder(pixels)
    torch.testing.assert_close(torch.from_numpy(model([pixels.numpy()])[0]), expected, atol=1e-4, rtol=0)


@pytest.mark.slow
def test_decoder_exports_for_any_number_of_prompts_and_tokens(network):
    count, tokens = torch.export.Dim("prompts", min=1, max=1024), torch.export.Dim("tokens", min=1, max=256)
    place = network.prompt_encoder.fourier.grid(8, 8)
    embedding, channels = some(1, TINY.channels, 8, 8), TINY.channels
    exported = torch.export.export(
        network.mask_decoder,
        (embedding, place, some(3, 5, channels), some(3, channels, 8, 8)),
        dynamic_shapes=({}, {}, {0: count, 1: tokens}, {0: count}),
    )
    sparse, dense = some(7, 2, channels), some(7, channels, 8, 8)
    with torch.inference_mode():
        expected = network.mask_decoder(embedding, place, sparse, dense)
        for mine, theirs in zip(exported.module()(embedding, place, sparse, dense), expected, strict=True):
            torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("asking", "asked"), [(5, 60), (60, 5), (40, 60), (60, 40)])
def test_projections_moved_to_the_tokens_change_nothing(asking, asked, monkeypatch):
    """Few tokens and many cells take another way through the same attention, forwards and backwards."""
    torch.manual_seed(0)
    attention = CrossAttention(32, 16, heads=2)
    query, key, value = (torch.randn(2, count, 32) for count in (asking, asked, asked))
    moved = attention(query, key, value)
    moved.square().sum().backward()
    gradients = [parameter.grad.clone() for parameter in attention.parameters()]
    attention.zero_grad()
    monkeypatch.setattr(CrossAttention, "plain", lambda self: False)
    plain = attention(query, key, value)
    plain.square().sum().backward()
    torch.testing.assert_close(moved, plain, rtol=1e-5, atol=1e-6)
    for found, parameter in zip(gradients, attention.parameters(), strict=True):
        torch.testing.assert_close(found, parameter.grad, rtol=1e-3, atol=1e-4)  # the key's bias: 0 but for rounding


def test_the_grid_of_positions_is_the_features_of_the_cells_centres():
    fourier = FourierFeatures(16)
    y, x = torch.meshgrid((torch.arange(5) + 0.5) / 5, (torch.arange(7) + 0.5) / 7, indexing="ij")
    expected = fourier(torch.stack([x, y], dim=-1)).movedim(-1, 0)[None]
    torch.testing.assert_close(fourier.grid(5, 7), expected, rtol=1e-5, atol=1e-5)


def test_a_wrapped_projection_is_called_as_it_is():
    attention = CrossAttention(32, 16, heads=2)
    query, image = torch.randn(1, 3, 32), torch.randn(1, 50, 32)
    before = attention(query, image, image)
    attention.query = torch.nn.Sequential(attention.query)
    torch.testing.assert_close(attention(query, image, image), before, rtol=1e-5, atol=1e-6)
