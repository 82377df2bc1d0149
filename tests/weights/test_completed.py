"""Files that hold a part, beside SAM's: recognised by their own names, completed at loading, missed in a sentence."""

from dataclasses import replace

import pytest
import torch

from hilum import registry
from hilum.app.weights_commands import candidates
from hilum.capabilities.system import Completed
from hilum.parts.sam import TINY
from hilum.parts.unprompted import Unprompted
from hilum.systems.sam_study import SamStudy
from hilum.systems.samed import Samed, SamedConfig
from hilum.values.errors import BadInput, WeightsUnavailable
from hilum.weights import store, verification
from hilum.weights.importer import Wish, import_file

LARGER = replace(TINY, image_size=96)  # SAM's own size: another than SAMed's, as it is with the published files
CONFIGS = {
    "vit_b": SamedConfig(TINY),
    "vit_b_s": SamedConfig(TINY, decoder_rests=True),
    "vit_h": SamedConfig(replace(TINY, depth=3)),
}


@pytest.fixture(autouse=True)
def _small(tmp_path, monkeypatch):
    monkeypatch.setenv("HILUM_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setattr(Samed, "configs", CONFIGS)
    monkeypatch.setattr(SamStudy, "configs", {"vit_b": LARGER, "vit_h": replace(LARGER, depth=3)})


def pool():
    return [each for each in candidates() if each.system in ("samed", "sam_study") and each.tag != "vit_l"]


def sams(tag: str = "vit_b") -> dict[str, torch.Tensor]:
    return SamStudy.table.inverse(SamStudy.seeded(SamStudy.configs[tag], 5).network.state_dict())


def trained(tag: str) -> Samed:
    """A SAMed that was begun from that SAM, and then changed in all that is trained."""
    system = Samed.begun(CONFIGS[tag], sams("vit_h" if tag == "vit_h" else "vit_b"))
    generator = torch.Generator().manual_seed(6)
    with torch.no_grad():
        for weight in system.network.parameters():
            if weight.requires_grad:
                weight.add_(0.1 * torch.randn(weight.shape, generator=generator))
    return system


def own(system: Samed) -> dict[str, torch.Tensor]:
    whole = Samed.table.inverse(system.network.state_dict())
    return {name: tensor.contiguous() for name, tensor in whole.items() if Samed.carries(name)}


def bring(state, path, wish: Wish):
    torch.save(state, path)
    return import_file(path, pool(), wish)


@pytest.mark.parametrize("tag", CONFIGS)
def test_from_two_published_files_to_the_same_answer(tag, tmp_path):
    """Files of the same name are told apart by their tensors; with SAM's beside them they are whole."""
    system = trained(tag)
    (imported,) = bring(own(system), tmp_path / registry.card("samed").entry(tag).file, Wish())
    assert imported.record.name == f"samed.{tag}"
    base = "vit_h" if tag == "vit_h" else "vit_b"
    bring(sams(base), tmp_path / f"sam_{base}_01ec64.pth", Wish(name=f"sam_study.{base}", accept_hash=True))
    loaded = registry.load(f"samed.{tag}", device="cpu", backend="torch")
    assert loaded.tag == f"samed.{tag}"
    assert loaded.weights_sha256 == f"{imported.weights.sha256}+{store.find(registry.card('sam_study'), base).sha256}"
    state = system.network.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in loaded.network.state_dict().items())
    pixels = torch.rand(1, 3, TINY.image_size, TINY.image_size)
    with torch.inference_mode():
        logits, expected = Unprompted(loaded.network)(pixels), Unprompted(system.network)(pixels)
    torch.testing.assert_close(logits, expected, atol=1e-6, rtol=1e-6)
    assert verification.verify(registry.card("samed"), tag, pool()).sound


def test_sams_file_missing_is_a_sentence_that_says_how_to_get_it(tmp_path):
    bring(own(trained("vit_b")), tmp_path / "epoch_159.pth", Wish())
    with pytest.raises(WeightsUnavailable, match=r"samed builds on sam_study\.vit_b: .* not on this machine: .*pull"):
        registry.load("samed")


def test_a_file_of_ones_own_is_completed_too(tmp_path):
    """What a recipe wrote, used where it lies."""
    from safetensors.torch import save_file

    system = trained("vit_b")
    save_file(own(system), tmp_path / "mine.safetensors")
    bring(sams(), tmp_path / "sam_vit_b_01ec64.pth", Wish(name="sam_study.vit_b", accept_hash=True))
    loaded = registry.load("samed.vit_b", weights=tmp_path / "mine.safetensors", device="cpu", backend="torch")
    state = system.network.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in loaded.network.state_dict().items())


def test_the_layout_is_the_files_alone():
    layout = Samed.layout("vit_b")
    assert layout == {name: tuple(tensor.shape) for name, tensor in own(trained("vit_b")).items()}
    assert not any("image_encoder" in name for name in layout)
    assert issubclass(Samed, Completed)


def test_half_a_file_is_refused(tmp_path):
    half = {name: tensor for name, tensor in own(trained("vit_b")).items() if not name.startswith("w_b_")}
    with pytest.raises(BadInput, match=r"missing: w_b_000"):
        bring(half, tmp_path / "epoch_159.pth", Wish(name="samed.vit_b"))
    assert store.available(registry.card("samed")) == ("pocket",)  # the shipped one alone
