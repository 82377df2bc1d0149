"""Sites' adapters as one: the weighted mean of what each changed, exactly; the merged file loads like any other."""

import json

import pytest
import torch
from safetensors.torch import save_file

from hilum.adapt.merge import averaged, merge
from hilum.values.errors import BadInput
from hilum.weights import adapter
from hilum.weights.adapter import DOWN, UP, Adapter


def site(seed, rank=2):
    torch.manual_seed(seed)
    return {"w" + DOWN: torch.randn(rank, 5), "w" + UP: torch.randn(4, rank), "b": torch.randn(4)}


def folder(path, seed, **told):
    path.mkdir()
    save_file(site(seed), path / adapter.TENSORS)
    (path / adapter.CONFIG).write_text(
        Adapter(**{"system": "scout", "weights": "pocket", "weights_sha256": "1", "method": "lora", **told}).text()
    )
    return path


def test_the_merged_product_is_the_weighted_mean_of_the_products():
    sites, weights = [site(0), site(1, rank=3)], [0.25, 0.75]
    merged = averaged(sites, weights)
    assert merged["w" + DOWN].shape == (5, 5)
    mean = sum(share * (one["w" + UP] @ one["w" + DOWN]) for share, one in zip(weights, sites, strict=True))
    torch.testing.assert_close(merged["w" + UP] @ merged["w" + DOWN], mean)
    torch.testing.assert_close(merged["b"], 0.25 * sites[0]["b"] + 0.75 * sites[1]["b"])


def test_merged_folders_say_who_is_in_them(tmp_path):
    one, two = folder(tmp_path / "a", 0), folder(tmp_path / "b", 1)
    merge([one, two], [120, 45], tmp_path / "all")
    told = json.loads((tmp_path / "all" / adapter.CONFIG).read_text())
    assert [site["share"] for site in told["trained"]["merged"]] == pytest.approx([120 / 165, 45 / 165], abs=1e-6)
    assert adapter.read(tmp_path / "all").method == "lora"
    with pytest.raises(BadInput, match="holds an adapter already"):
        merge([one, two], [1, 1], tmp_path / "all")


def test_only_adapters_of_one_base_are_merged(tmp_path):
    one, two = folder(tmp_path / "a", 0), folder(tmp_path / "b", 1, weights_sha256="2")
    with pytest.raises(BadInput, match=r"differs from .* in weights sha256"):
        merge([one, two], [1, 1], tmp_path / "all")
    with pytest.raises(BadInput, match="one number above 0 for each of 2"):
        merge([one, two], [1], tmp_path / "all")
    with pytest.raises(BadInput, match="at least two adapters"):
        merge([one], [1], tmp_path / "all")
    assert not (tmp_path / "all").exists()
