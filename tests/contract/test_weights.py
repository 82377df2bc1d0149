"""What every system promises of its weights: seeds, names, sizes, gradients."""

import numpy as np
import pytest
import torch

from conftest_contract import ALL, ellipsoid, excused, modality_of, picture
from hilum import registry
from hilum.capabilities.segment import Semantic
from hilum.capabilities.trainable import Captioned, Paired, Sample, Trainable


@pytest.mark.parametrize("name", ALL)
def test_other_seed_other_weights(name):
    excused(name, "weights")
    first, second = (registry.find(name).tiny(seed=seed).network.state_dict() for seed in (0, 1))
    assert any(not torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("name", ALL)
def test_save_and_load_is_identity(name, tiny, tmp_path):
    """Written under the upstream's names and read back through the table, nothing changes."""
    from safetensors.torch import load_file, save_file

    system = tiny(name)
    upstream = {
        key: value.contiguous() for key, value in type(system).table.inverse(system.network.state_dict()).items()
    }
    save_file(upstream, tmp_path / "w.safetensors")
    back = type(system).table.apply(load_file(tmp_path / "w.safetensors"))
    state = system.network.state_dict()
    assert back.keys() == state.keys()
    assert all(torch.equal(back[key], state[key]) for key in state)


@pytest.mark.parametrize("name", ALL)
def test_every_published_size_builds_on_the_meta_device(name):
    excused(name, "weights")
    system_class = registry.find(name).system_class()
    for tag in system_class.configs:
        layout = system_class.layout(tag)
        assert layout
        assert all(len(key) for key in layout)


@pytest.mark.parametrize("name", ALL)
def test_every_trainable_weight_gets_a_gradient(name):
    excused(name, "gradient")
    system = registry.find(name).tiny()
    if not isinstance(system, Trainable | Paired):
        pytest.skip(f"{name} is not trainable")
    system.network.train()
    terms = system.loss(_batch(system, picture(modality_of(name))))
    terms.total.backward()
    without = [key for key, weight in system.network.named_parameters() if weight.requires_grad and weight.grad is None]
    assert not without
    assert torch.isfinite(terms.total)


def _batch(system, image):
    """Two samples of what the system learns from: masks, or texts with findings."""
    rng = np.random.default_rng(0)
    if isinstance(system, Paired):
        said = ("a large left pleural effusion is seen", {"effusion": 1}), ("the lungs are clear", {"effusion": 0})
        return system.pairs([Captioned(image, text, findings) for text, findings in said], rng)
    return system.batch([Sample(image, _masks(system)) for _ in range(2)], rng)


def _masks(system):
    """One ellipse; for a semantic system one mask for each of its classes, the ellipse among them."""
    one = ellipsoid()[2:3]
    if not isinstance(system, Semantic):
        return one
    return np.concatenate([one, np.zeros((len(system.targets()) - 1, *one.shape[1:]), dtype=bool)])
