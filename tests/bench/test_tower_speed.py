"""The bench of towers at a tiny size: every way gives a vector for each file, and int8 stays near f32."""

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from hilum.backends.openvino import OpenVino
from hilum.bench import tower_speed
from hilum.systems.biomedclip import BiomedClip
from hilum.values.errors import BadInput


@pytest.fixture
def films(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(10):
        Pillow.fromarray(rng.integers(0, 256, (40, 40), dtype=np.uint8)).save(tmp_path / f"{number}.png")
    return tmp_path


def test_ours_gives_a_vector_for_each_file_in_order(films, monkeypatch):
    monkeypatch.setenv("HILUM_HOME", str(films / "home"))
    files, system = tower_speed.pictures(films, 13), BiomedClip.tiny()
    found = tower_speed.ours(system, OpenVino("f32"), files)()
    assert found.shape == (13, 16)
    assert np.array_equal(found[:3], found[10:])  # files are repeated until there are enough


def test_int8_products_stay_near(films):
    pytest.importorskip("nncf", reason="int8 products are measured where nncf is installed")
    system = BiomedClip.tiny()
    rows = tuple(torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(seed)) for seed in range(16))
    module, shape = system.costly()
    run = tower_speed.Int8(rows).compile(module, (8, *shape[1:]), key="")
    given = torch.cat(rows[:8])
    with torch.inference_mode():
        wanted = module(given)
    assert torch.nn.functional.cosine_similarity(run(given), wanted).min() > 0.98


def test_rates_are_the_median_over_turns():
    calls = []
    found = tower_speed.in_turns({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, {"a": 1, "b": 2}, 2)
    assert calls == ["a", "b", "a", "b"]
    assert all(rate.clock > 0 for rate in found.values())


def test_a_folder_without_pictures_is_refused(tmp_path):
    with pytest.raises(BadInput, match="no PNG or JPEG"):
        tower_speed.pictures(tmp_path, 3)
