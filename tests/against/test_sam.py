"""Our SAM is transformers' SAM: the same weights through the table give the same numbers."""

import copy
from functools import cache

import numpy as np
import pytest
import torch

from hilum.parts.sam import BASE, TINY, Sam, sam
from hilum.parts.sam_everything import Sweep, everything
from hilum.parts.sam_frame import SamFrame
from hilum.parts.sam_prompt_encoder import SamPrompts
from hilum.weights.rename import fill
from hilum.weights.tables.sam import TRANSFORMERS, TRANSFORMERS_TO_UPSTREAM, UPSTREAM

SAM_EPS = 1e-5  # of the decoder's layers in SAM; transformers' default is 1e-6


@cache
def reference(decoder_eps: float):
    """A tiny SamModel of TINY's sizes, every weight random and of a size that shows."""
    from transformers import SamConfig, SamMaskDecoderConfig, SamModel, SamPromptEncoderConfig, SamVisionConfig

    shared = {"image_size": TINY.image_size, "patch_size": TINY.patch}
    vision = SamVisionConfig(
        hidden_size=TINY.width,
        output_channels=TINY.channels,
        num_hidden_layers=TINY.depth,
        num_attention_heads=TINY.heads,
        window_size=TINY.window,
        global_attn_indexes=list(TINY.global_blocks),
        num_pos_feats=TINY.channels // 2,
        **shared,
    )
    prompts = SamPromptEncoderConfig(hidden_size=TINY.channels, mask_input_channels=TINY.mask_hidden, **shared)
    decoder = SamMaskDecoderConfig(
        hidden_size=TINY.channels,
        mlp_dim=TINY.decoder_hidden,
        num_attention_heads=TINY.decoder_heads,
        iou_head_hidden_dim=TINY.quality_hidden,
        layer_norm_eps=decoder_eps,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = SamModel(
            SamConfig(vision_config=vision, prompt_encoder_config=prompts, mask_decoder_config=decoder)
        ).eval()
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(0.2 * torch.randn_like(weight))
    return model


@cache
def ours() -> Sam:
    network = sam(TINY)
    fill(network, TRANSFORMERS.apply(reference(SAM_EPS).state_dict()))
    return network.eval()


def pixels(images: int) -> torch.Tensor:
    return torch.randn(images, 3, TINY.image_size, TINY.image_size, generator=torch.Generator().manual_seed(1))


POINTS = torch.tensor([[[12.0, 20.5], [50.0, 8.0]], [[31.25, 40.0], [3.0, 60.0]]])
INSIDE = torch.tensor([[True, False], [True, True]])
BOXES = torch.tensor([[4.0, 6.0, 40.0, 50.0], [10.0, 0.0, 63.0, 33.5]])
KINDS = {
    "points": (SamPrompts(POINTS, INSIDE), {"input_points": POINTS[None], "input_labels": INSIDE[None].long()}),
    "box": (SamPrompts(boxes=BOXES), {"input_boxes": BOXES[None]}),
    "points and box": (
        SamPrompts(POINTS, INSIDE, BOXES),
        {"input_points": POINTS[None], "input_labels": INSIDE[None].long(), "input_boxes": BOXES[None]},
    ),
}


def both(model, prompts: SamPrompts, words: dict):
    """(logits, quality) of ours and of theirs, for the first mask and for the other three."""
    with torch.inference_mode():
        mine = ours()(pixels(1), prompts)
        single = model(pixel_values=pixels(1), multimask_output=False, **words)
        several = model(pixel_values=pixels(1), multimask_output=True, **words)
    theirs = tuple(
        torch.cat([getattr(single, name)[0], getattr(several, name)[0]], dim=1) for name in ("pred_masks", "iou_scores")
    )
    return mine, theirs


@pytest.mark.parametrize("kind", KINDS)
def test_prompted_masks_are_the_same(kind):
    mine, theirs = both(reference(SAM_EPS), *KINDS[kind])
    for own, other in zip(mine, theirs, strict=True):
        assert own.shape == other.shape
        torch.testing.assert_close(own, other, atol=1e-5, rtol=0)


def test_a_mask_prompt_is_read_the_same():
    side = 4 * TINY.grid
    masks = 5 * torch.randn(1, 1, side, side, generator=torch.Generator().manual_seed(2))
    prompts = SamPrompts(POINTS[:1], INSIDE[:1], masks=masks)
    words = {"input_points": POINTS[None, :1], "input_labels": INSIDE[None, :1].long(), "input_masks": masks}
    mine, theirs = both(reference(SAM_EPS), prompts, words)
    for own, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(own, other, atol=1e-5, rtol=0)


def test_image_embeddings_are_the_same():
    with torch.inference_mode():
        mine = ours().image_encoder(pixels(2))
        theirs = reference(SAM_EPS).get_image_embeddings(pixels(2))
    torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=0)


def test_transformers_default_is_not_sam():
    """Its decoder's eps of 1e-6 is not SAM's 1e-5: with its defaults the same weights give other logits."""
    from transformers import SamMaskDecoderConfig

    assert SamMaskDecoderConfig().layer_norm_eps == 1e-6
    mine, theirs = both(reference(1e-6), *KINDS["points"])
    assert float((mine[0] - theirs[0]).abs().max()) > 1e-5


def test_names_go_round_without_loss():
    """Upstream's names to ours, to transformers', to upstream's: the same tensors to the bit, under the same names."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        upstream = UPSTREAM.inverse(sam(TINY).state_dict())
    theirs = TRANSFORMERS.inverse(UPSTREAM.apply(upstream))
    assert theirs.keys() == reference(SAM_EPS).state_dict().keys()
    back = TRANSFORMERS_TO_UPSTREAM.apply(theirs)
    assert back.keys() == upstream.keys()
    assert all(torch.equal(back[name], upstream[name]) for name in upstream)


def test_published_size_has_transformers_names_and_shapes():
    from transformers import SamConfig, SamModel

    with torch.device("meta"):
        theirs, mine = SamModel(SamConfig()).state_dict(), sam(BASE).state_dict()
    renamed = TRANSFORMERS.apply(theirs)
    assert {name: value.shape for name, value in renamed.items()} == {name: value.shape for name, value in mine.items()}


def sharper() -> torch.nn.Module:
    """The reference with masks that are steep enough to be stable, and better rated."""
    model = copy.deepcopy(reference(SAM_EPS))
    with torch.no_grad():
        for head in model.mask_decoder.output_hypernetworks_mlps:
            head.proj_out.weight.mul_(12)
            head.proj_out.bias.mul_(12)
        model.mask_decoder.iou_prediction_head.proj_out.bias.add_(1)
    return model


def test_everything_finds_the_same_masks():
    """Against the mask-generation pipeline: clicks, both thresholds, boxes, order; the padding is tried too."""
    from PIL import Image as Picture
    from transformers import SamImageProcessor, pipeline

    picture = np.random.default_rng(0).integers(0, 256, (3, 40, 56)).astype(np.uint8)
    model, side, cells = sharper(), TINY.image_size, 4 * TINY.grid
    processor = SamImageProcessor(
        size={"longest_edge": side},
        pad_size={"height": side, "width": side},
        mask_size={"longest_edge": cells},
        mask_pad_size={"height": cells, "width": cells},
    )
    generate = pipeline("mask-generation", model=model, image_processor=processor)
    limits = {"pred_iou_thresh": 0.2, "stability_score_thresh": 0.7, "crops_nms_thresh": 1.0}
    theirs = generate(Picture.fromarray(np.moveaxis(picture, 0, -1)), points_per_crop=8, points_per_batch=64, **limits)
    network = sam(TINY).eval()
    fill(network, TRANSFORMERS.apply(model.state_dict()))
    frame = SamFrame(40, 56, side)
    with torch.inference_mode():
        sweep = Sweep(side=8, quality=0.2, stability=0.7, overlap=1.0)
        mine = list(everything(network, network.image_encoder(frame.pixels(picture)), frame, sweep))
    assert 10 < len(mine) == len(theirs["masks"]) < 3 * 64
    pixels_apart = [int((a.mask != np.asarray(b)).sum()) for a, b in zip(mine, theirs["masks"], strict=True)]
    assert np.mean(np.array(pixels_apart) <= 1) > 0.9  # two of nearly the same rating may change places
