"""Updates of query and value: nothing at birth, the key never, folded in without a difference."""

import pytest
import torch
from torch import nn

from hilum.parts.qv_lora import Lora, QvLora, Resting, Update, merged, only_updates
from hilum.parts.qv_peft import Factors, from_peft, fused, parted, to_peft
from hilum.values.errors import BadInput


def some(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def moved(layer: nn.Module) -> nn.Module:
    with torch.no_grad():
        for number, weight in enumerate(layer.parameters()):
            weight.copy_(some(*weight.shape, seed=number))
    return layer


@pytest.mark.parametrize("make", [lambda: QvLora(nn.Linear(6, 18), rank=2), lambda: Lora(nn.Linear(6, 4), rank=2)])
def test_a_fresh_update_changes_nothing_and_a_trained_one_can_be_folded_in(make):
    layer, x = make(), some(3, 5, 6)
    assert torch.equal(layer(x), layer.host(x))
    moved(layer)
    assert not torch.allclose(layer(x), layer.host(x))
    folded = layer.merged()
    assert type(folded) is nn.Linear
    torch.testing.assert_close(folded(x), layer(x), atol=1e-5, rtol=1e-5)


def test_query_and_value_change_and_the_key_does_not():
    layer, x = moved(QvLora(nn.Linear(6, 18), rank=3)), some(2, 4, 4, 6)
    query, key, value = (layer(x) - layer.host(x)).chunk(3, dim=-1)
    torch.testing.assert_close(query, x @ (layer.query.up.weight @ layer.query.down.weight).T, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(value, x @ layer.value.matrix().T, atol=1e-5, rtol=1e-5)
    assert not key.any()


def test_only_updates_are_trained():
    host = nn.Sequential(nn.Linear(4, 4), Lora(nn.Linear(4, 4), rank=2))
    resting = Resting(host)
    wanted = {name for name, weight in resting.named_parameters() if weight.requires_grad}
    assert wanted == {"host.1.update.down.weight", "host.1.update.up.weight"}
    assert only_updates(host) is host
    assert torch.equal(resting(some(2, 4)), host(some(2, 4)))


def test_a_merged_network_has_no_updates_and_leaves_the_given_one_alone():
    network = moved(nn.Sequential(QvLora(nn.Linear(6, 18), rank=2), nn.ReLU(), Lora(nn.Linear(18, 5), rank=2)))
    before = {name: weight.clone() for name, weight in network.state_dict().items()}
    whole, x = merged(network), some(7, 6)
    assert not any(isinstance(part, Update) for part in whole.modules())
    torch.testing.assert_close(whole(x), network(x), atol=1e-4, rtol=1e-5)
    assert all(torch.equal(before[name], weight) for name, weight in network.state_dict().items())


def files(layers: int = 2, width: int = 6, rank: int = 3) -> dict[str, torch.Tensor]:
    """Factors as SAMed's file has them."""
    shapes = {"a": (rank, width), "b": (width, rank)}
    names = [(f"w_{letter}_{number:03d}", shapes[letter]) for number in range(2 * layers) for letter in "ab"]
    return {name: some(*shape, seed=seed) for seed, (name, shape) in enumerate(names)}


def test_there_and_back_is_bit_equal():
    own = files()
    back = from_peft(*to_peft(own))
    assert back.keys() == own.keys()
    assert all(torch.equal(back[name], own[name]) for name in own)


def test_pefts_rows_of_the_key_are_zero_and_its_scale_is_one():
    tensors, config = to_peft(files(width=6))
    assert config["lora_alpha"] == config["r"] == 6
    up = tensors["base_model.model.image_encoder.blocks.1.attn.qkv.lora_B.weight"]
    assert up.shape == (18, 6)
    assert not up[6:12].any()


def test_a_scale_goes_into_b():
    tensors, config = to_peft(files())
    doubled = from_peft(tensors, {**config, "lora_alpha": 2 * config["r"]})
    assert torch.equal(doubled["w_b_001"], 2 * files()["w_b_001"])


def test_factors_that_query_and_value_share_go_to_both():
    """As another program may have trained them, with a mask on the key's rows."""
    up = some(9, 2)
    up[3:6] = 0
    query, value = parted(Factors(some(2, 3, seed=5), up))
    torch.testing.assert_close(query.up @ query.down, up[:3] @ some(2, 3, seed=5))
    torch.testing.assert_close(value.up @ value.down, up[6:] @ some(2, 3, seed=5))
    both = fused(query, value)
    torch.testing.assert_close(both.up @ both.down, up @ some(2, 3, seed=5))


def test_what_cannot_be_said_is_refused_with_a_sentence():
    tensors, config = to_peft(files())
    name = "base_model.model.image_encoder.blocks.0.attn.qkv.lora_B.weight"
    with pytest.raises(BadInput, match="changes the key too"):
        from_peft({**tensors, name: torch.ones_like(tensors[name])}, config)
    with pytest.raises(BadInput, match="not plain LoRA"):
        from_peft(tensors, {**config, "use_dora": True})
    with pytest.raises(BadInput, match="does not change every"):
        from_peft({**tensors, "base_model.model.image_encoder.neck.0.lora_A.weight": some(1, 1)}, config)
    with pytest.raises(BadInput, match="no w_a_000"):
        to_peft({"mask_decoder.iou_token.weight": some(1, 2)})
