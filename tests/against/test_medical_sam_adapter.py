"""Medical SAM Adapter's loss beside MONAI's, its LoRA beside peft's."""

import pytest
import torch
from torch import nn

from hilum.objectives.overlap import cross_entropy, squared_dice
from hilum.parts.low_rank_layer import LowRankLayer, MergedLowRankLayer


def test_the_loss_of_stacks_is_monais():
    """`DiceCELoss` with squares below, of sigmoids, slice by slice."""
    from monai.losses import DiceCELoss

    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 1, 12, 10, generator=generator)
    masks = (torch.rand(5, 1, 12, 10, generator=generator) > 0.7).float()
    masks[-1] = 0
    theirs = DiceCELoss(sigmoid=True, squared_pred=True)(logits, masks)
    mine = (1 - squared_dice(logits.sigmoid(), masks)).mean() + cross_entropy(logits, masks).mean()
    torch.testing.assert_close(mine, theirs, atol=1e-6, rtol=1e-5)


def peft_lora(weight: torch.Tensor, bias: torch.Tensor, factors: tuple[torch.Tensor, torch.Tensor]) -> nn.Module:
    """peft's LoRA of alpha 1 around a linear layer of these weights."""
    from peft import LoraConfig, get_peft_model

    down, up = factors
    host = nn.Sequential(nn.Linear(weight.shape[1], weight.shape[0]))
    host[0].weight.data, host[0].bias.data = weight, bias
    model = get_peft_model(host, LoraConfig(r=len(down), lora_alpha=1, target_modules=["0"]))
    layer = model.base_model.model[0]
    layer.lora_A["default"].weight.data, layer.lora_B["default"].weight.data = down, up
    return layer


def test_low_rank_layer_is_pefts():
    torch.manual_seed(0)
    mine = LowRankLayer(10, 14, rank=3)
    nn.init.normal_(mine.up)
    x = torch.randn(2, 5, 10)
    theirs = peft_lora(mine.weight.data, mine.bias.data, (mine.down.data, mine.up.data))
    with torch.inference_mode():
        torch.testing.assert_close(mine(x), theirs(x))


@pytest.mark.parametrize("tuned", [(True, False, True), (True, True, True), (False, False, True)])
def test_merged_layer_is_pefts_on_each_tuned_part(tuned):
    torch.manual_seed(0)
    width, rank = 8, 3
    mine = MergedLowRankLayer(width, width, tuned=tuned, rank=rank)
    x = torch.randn(2, 5, width)
    with torch.inference_mode():
        torch.testing.assert_close(mine(x), nn.functional.linear(x, mine.weight, mine.bias))  # zero at birth
    nn.init.normal_(mine.up)
    with torch.no_grad():
        parts = mine(x).chunk(3, dim=-1)
        downs, ups = iter(mine.down.data.split(rank)), iter(mine.up.data.split(width))
        for place, part in enumerate(parts):
            weight, bias = mine.weight.data.chunk(3)[place], mine.bias.data.chunk(3)[place]
            if tuned[place]:
                theirs = peft_lora(weight, bias, (next(downs), next(ups)))(x)
            else:
                theirs = nn.functional.linear(x, weight, bias)
            torch.testing.assert_close(part, theirs)
