"""Files with transformers 4's names of Swin: our table against transformers' own conversion, and the silent trap."""

import json

import pytest
import torch
from safetensors.torch import save_file

from hilum.parts.hub_swin import SwinSizes, swin
from hilum.weights.hollow import Hollow
from hilum.weights.rename import Mismatch, fill
from hilum.weights.tables.hub_swin import OLD_NAMES

SMALL = SwinSizes(image_size=32, dim=16, depths=(1, 2), heads=(2, 4), window=4)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    made = swin(SMALL).eval()
    with torch.no_grad():
        for weight in made.parameters():
            weight.add_(0.2 * torch.randn_like(weight))
    return made


@torch.no_grad()
def test_the_table_is_transformers_own_conversion(network, tmp_path):
    """A folder as version 4 wrote it, read by the installed version and by our table."""
    from transformers import SwinModel

    old = OLD_NAMES.inverse(network.state_dict())
    assert "encoder.layers.1.blocks.1.attention.self.query.weight" in old
    assert "encoder.layers.1.blocks.1.attention.self.relative_position_bias_table" in old
    assert "encoder.layers.1.blocks.1.output.dense.bias" in old
    save_file(old, tmp_path / "model.safetensors", metadata={"format": "pt"})
    (tmp_path / "config.json").write_text(json.dumps(network.config.to_dict()))
    theirs = SwinModel.from_pretrained(tmp_path).eval()
    ours = swin(SMALL).eval()
    fill(ours, OLD_NAMES.apply(old))
    pixels = torch.randn(2, 3, 32, 32)
    wanted = network(pixels).pooler_output
    torch.testing.assert_close(theirs(pixels).pooler_output, wanted)
    torch.testing.assert_close(ours(pixels).pooler_output, wanted)


def test_old_names_do_not_fit_without_the_table(network):
    """What a loose load would have passed over in silence."""
    old = OLD_NAMES.inverse(network.state_dict())
    lost = set(network.state_dict()) - set(old)
    assert len(lost) == 13 * sum(SMALL.depths)  # all of a block but its two norms
    with pytest.raises(Mismatch, match="missing"):
        fill(swin(SMALL), old)


def test_names_of_the_text_beside_it_stay():
    names = {
        "text_model.model.encoder.layer.0.attention.self.query.weight": 1,
        "text_model.model.encoder.layer.0.attention.output.dense.weight": 2,
        "text_model.model.encoder.layer.0.output.dense.weight": 3,
    }
    assert OLD_NAMES.apply(names) == names == OLD_NAMES.inverse(names)


@torch.no_grad()
def test_it_is_made_without_memory_where_weights_are_still_to_come(network):
    with Hollow():
        hollow = swin(SMALL)
    assert {each.device.type for each in hollow.parameters() if each.ndim == 4} == {"meta"}
    fill(hollow, network.state_dict())
    pixels = torch.randn(1, 3, 32, 32)
    torch.testing.assert_close(hollow.eval()(pixels).pooler_output, network(pixels).pooler_output)
