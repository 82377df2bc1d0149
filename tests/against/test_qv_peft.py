"""Our updates of query and value are peft's: the same adapter, read by peft from its folder, gives the same numbers."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from hilum.parts.qv_lora import Update
from hilum.parts.qv_peft import from_peft, to_peft
from hilum.parts.sam import TINY
from hilum.parts.unprompted import Unprompted
from hilum.systems.samed import Samed, SamedConfig
from hilum.weights.rename import fill

OURS = "image_encoder.blocks.{layer}.attend.attention.qkv"
CONFIG = SamedConfig(TINY)


@pytest.fixture
def tuned() -> Samed:
    system = Samed.seeded(CONFIG, 0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for part in system.network.modules():
            if isinstance(part, Update):
                part.up.weight.copy_(torch.randn(part.up.weight.shape, generator=generator) * 0.2)
    return system


def own(system: Samed) -> dict[str, torch.Tensor]:
    return {name: each for name, each in Samed.table.inverse(system.network.state_dict()).items() if name[:2] == "w_"}


def plain(system: Samed):
    """The network as it is without updates."""
    state = system.network.state_dict()
    fresh = Samed.build(CONFIG)
    fill(fresh, {name: 0 * each if name.endswith("up.weight") else each for name, each in state.items()})
    return Samed(fresh.eval(), CONFIG).merged()


def test_peft_reads_our_adapter_and_gives_the_same_masks(tuned, tmp_path):
    from peft import PeftModel

    tensors, config = to_peft(own(tuned), host=OURS)
    save_file(tensors, tmp_path / "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    theirs = PeftModel.from_pretrained(Unprompted(plain(tuned)).sam, tmp_path).eval()
    pixels = torch.rand(2, 3, TINY.image_size, TINY.image_size, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        expected = Unprompted(tuned.network)(pixels)
        without = Unprompted(plain(tuned))(pixels)
        found = Unprompted(theirs.base_model.model)(pixels)
    assert float((expected - without).abs().max()) > 1e-3
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_what_peft_writes_is_read_back(tuned, tmp_path):
    from peft import PeftModel

    tensors, config = to_peft(own(tuned), host=OURS)
    save_file(tensors, tmp_path / "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    PeftModel.from_pretrained(plain(tuned), tmp_path).save_pretrained(tmp_path / "again")
    told = json.loads((tmp_path / "again/adapter_config.json").read_text())
    back = from_peft(load_file(tmp_path / "again/adapter_model.safetensors"), told, host=OURS)
    assert back.keys() == own(tuned).keys()
    assert all(torch.equal(back[name], tensor) for name, tensor in own(tuned).items())
