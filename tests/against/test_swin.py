"""Our Swin is timm's: the same weights, whose stages timm has come to cut elsewhere, give the same tokens."""

import re

import pytest
import torch
from einops import rearrange
from torch import nn

from hilum.nn.swin import Swin, SwinConfig
from hilum.weights.hollow import Hollow
from hilum.weights.rename import fill

SIZES = {  # windows that are shifted and not, as large as the grid, and larger than the last grid
    "windows": SwinConfig(image_size=64, dim=16, depths=(2, 3), heads=(2, 4), window=4, drop_path=0.0),
    "one window": SwinConfig(image_size=28, dim=16, depths=(2,), heads=(2,), window=7, drop_path=0.0),
    "small last grid": SwinConfig(image_size=48, dim=8, depths=(2, 2, 2), heads=(1, 2, 2), window=6, drop_path=0.0),
    "three stages": SwinConfig(image_size=96, dim=8, depths=(1, 2, 2), heads=(1, 2, 2), window=3, drop_path=0.0),
}


class Patches(nn.Module):
    """Swin's own patches: a convolution and a norm."""

    def __init__(self, config: SwinConfig):
        super().__init__()
        self.proj = nn.Conv2d(3, config.dim, config.patch, config.patch)
        self.norm = nn.LayerNorm(config.dim)

    def forward(self, pixels):
        return self.norm(rearrange(self.proj(pixels), "b d h w -> b (h w) d"))


def both(config):
    from timm.models.swin_transformer import SwinTransformer

    theirs = SwinTransformer(
        img_size=config.image_size,
        embed_dim=config.dim,
        depths=config.depths,
        num_heads=config.heads,
        window_size=config.window,
        num_classes=0,
        global_pool="",
    ).eval()
    with torch.no_grad():
        for weight in theirs.parameters():
            weight.add_(0.2 * torch.randn_like(weight))
    earlier = {
        re.sub(r"layers\.(\d+)\.downsample", lambda m: f"layers.{int(m[1]) - 1}.downsample", name): each
        for name, each in theirs.state_dict().items()
    }
    mine = Swin(config, Patches(config)).eval()
    fill(mine, earlier)
    return mine, theirs


@pytest.mark.parametrize("kind", SIZES)
@torch.no_grad()
def test_tokens_are_timms(kind):
    torch.manual_seed(0)
    mine, theirs = both(SIZES[kind])
    pixels = torch.randn(2, 3, SIZES[kind].image_size, SIZES[kind].image_size)
    wanted = rearrange(theirs(pixels), "b h w d -> b (h w) d")
    torch.testing.assert_close(mine(pixels), wanted, atol=2e-5, rtol=1e-4)


def test_what_does_not_divide_is_refused():
    with pytest.raises(ValueError, match="multiple of windows"):
        Swin(SwinConfig(image_size=52, dim=8, depths=(1,), heads=(1,), window=4), nn.Identity())


@torch.no_grad()
def test_it_is_made_without_memory_where_weights_are_still_to_come():
    config = SIZES["windows"]
    whole = Swin(config, Patches(config)).eval()
    with Hollow():
        hollow = Swin(config, Patches(config))
    fill(hollow, whole.state_dict())
    pixels = torch.randn(1, 3, config.image_size, config.image_size)
    torch.testing.assert_close(hollow.eval()(pixels), whole(pixels))
