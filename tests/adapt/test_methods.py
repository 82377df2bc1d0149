"""Methods train what they say, change nothing at birth, and come back from their files exactly."""

import numpy as np
import pytest
import torch

from hilum import registry
from hilum.adapt import methods
from hilum.values.errors import BadInput
from hilum.weights import adapter
from hilum.weights.rename import fill


def state(system):
    return {name: each.clone() for name, each in system.network.state_dict().items()}


def told(method):
    return adapter.Adapter(
        "scout",
        "pocket",
        "",
        method.name,
        branch=method.branch,
        hidden=method.rank if method.branch else 0,
    )


def test_head_trains_the_head_alone():
    system = registry.find("scout").tiny()
    methods.begin(system, "head")
    trained = [name for name, each in system.network.named_parameters() if each.requires_grad]
    assert trained
    assert all(name.startswith(type(system).head) for name in trained)


@pytest.mark.parametrize("method", ["paper", "lora", "head"])
def test_what_was_changed_comes_back_from_the_adapter(method):
    system = registry.find("scout").tiny()
    base = state(system)
    begun = methods.begin(system, method, rank=3)
    with torch.no_grad():
        torch.manual_seed(1)
        for each in system.network.parameters():
            if each.requires_grad:
                each.add_(0.05 * torch.randn_like(each))
    own = methods.changed(system, begun)
    again = registry.find("scout").tiny()
    upstream = again.table.inverse(base)
    fill(again.network, again.table.apply(adapter.applied(upstream, own, told(begun))))
    x = torch.randn(1, next(iter(again.network.unet.stem.parameters())).shape[1] // 4, 32, 32)
    with torch.inference_mode():
        for mine, theirs in zip(system.network.eval().unet(x), again.network.eval().unet(x), strict=True):
            torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-4)
    assert sum(each.numel() for each in own.values()) < 1.01 * sum(each.numel() for each in base.values())


def test_lora_changes_nothing_at_birth_and_leaves_its_hosts_alone():
    system = registry.find("scout").tiny()
    x = torch.randn(1, system.network.unet.stem.in_channels // 4, 32, 32)
    with torch.inference_mode():
        before = system.network.unet(x)[0]
        begun = methods.begin(system, "lora", rank=2)
        assert torch.equal(system.network.unet(x)[0], before)
    trained = {name for name, each in system.network.named_parameters() if each.requires_grad}
    assert not any("base_layer" in name for name in trained)
    pairs = {name for name in methods.changed(system, begun) if name.endswith(adapter.DOWN)}
    assert pairs
    assert not any(
        np.abs(methods.changed(system, begun)[name.replace(adapter.DOWN, adapter.UP)].numpy()).max() for name in pairs
    )


def test_what_cannot_be_done_is_a_sentence():
    with pytest.raises(BadInput, match="--method magic: choose paper, lora, head, wavelet"):
        methods.begin(registry.find("scout").tiny(), "magic")


def test_an_adapter_of_another_network_is_refused():
    with pytest.raises(BadInput, match="does not fit its base: y"):
        adapter.applied({"x": torch.zeros(2)}, {"y": torch.zeros(2)}, adapter.Adapter("scout", "pocket", "", "head"))


def test_a_branch_of_details_comes_back_through_the_door(tmp_path, monkeypatch):
    """Written as an adapter and opened over its base: the same masks as the network that was adapted."""
    from safetensors.torch import save_file

    from hilum.parts.sam import TINY
    from hilum.systems.medsam import MedSam
    from hilum.weights.store import Weights

    monkeypatch.setattr(MedSam, "configs", {"tiny": TINY})
    system = MedSam.tiny()
    save_file(MedSam.table.inverse(state(system)), tmp_path / "base.safetensors")
    begun = methods.begin(system, "wavelet", rank=4)
    assert not any(name.startswith("image_encoder.blocks") for name, each in trained(system))
    with torch.no_grad():
        system.network.image_encoder.patches.branch.widen.weight.normal_()
    folder = tmp_path / "mine"
    folder.mkdir()
    save_file(methods.changed(system, begun), folder / adapter.TENSORS)
    (folder / adapter.CONFIG).write_text(told(begun).text())
    weights = Weights("medsam", "tiny", tmp_path / "base.safetensors", "1", adapter=folder)
    again = MedSam.open(weights, device="cpu", backend="torch")
    assert again.tag == "medsam.tiny+mine"
    x = torch.randn(1, 3, TINY.image_size, TINY.image_size)
    with torch.inference_mode():
        torch.testing.assert_close(again.network.image_encoder(x), system.network.image_encoder(x))
    with pytest.raises(BadInput, match="no patches that a branch"):
        methods.begin(registry.find("scout").tiny(), "wavelet")


def trained(system):
    return [(name, each) for name, each in system.network.named_parameters() if each.requires_grad]


def test_a_system_without_masks_is_sent_to_the_probe(tmp_path):
    from hilum.adapt.adaptation import Wish, adapt

    with pytest.raises(BadInput, match="retfound draws no masks to adapt; classes are learned with hilum probe"):
        adapt(registry.find("retfound").tiny(), Wish(tmp_path), tmp_path / "out")
