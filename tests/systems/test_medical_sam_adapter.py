"""Medical SAM Adapter's layouts, files, slices, clicks and training."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from hilum import registry
from hilum.capabilities.trainable import Sample
from hilum.parts.msa import MsaConfig, msa
from hilum.parts.msa_block import near_square
from hilum.parts.sam import TINY, sam
from hilum.parts.sam_prompt_encoder import SamPrompts
from hilum.systems import medical_sam_adapter as system_file
from hilum.systems.medical_sam_adapter import MedicalSamAdapter
from hilum.values.errors import BadInput, UnsupportedPrompt, WeightsUnavailable
from hilum.values.image import from_array
from hilum.values.prompts import PlanePrompt, Points
from hilum.weights import store, unpickle
from hilum.weights.importer import Wish, import_file
from hilum.weights.recognise import Candidate
from hilum.weights.rename import Mismatch
from hilum.weights.store import Weights
from hilum.weights.tables.sam import UPSTREAM

EVEN = replace(TINY, window=4)  # the grid is a multiple of the window: nothing is padded


def randomised(network: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Every weight random, so that nothing is zero that could hide a fault."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in network.parameters():
            weight.normal_(std=0.2, generator=generator)
    return network.eval()


def shape_counts(layout: dict[str, tuple[int, ...]], word: str) -> int:
    return sum(int(np.prod(shape)) for name, shape in layout.items() if word in name)


def test_published_sizes():
    plain = registry.find("sam_study").system_class().layout("vit_b")
    layout = MedicalSamAdapter.layout("vit_b")
    assert {name: layout[name] for name in plain} == plain
    added = layout.keys() - plain.keys()
    assert len(added) == 12 * 2 * 4
    assert all("Space_Adapter.D_fc" in name or "MLP_Adapter.D_fc" in name for name in added)
    assert layout["image_encoder.blocks.0.Space_Adapter.D_fc1.weight"] == (192, 768)
    assert layout["image_encoder.blocks.11.MLP_Adapter.D_fc2.weight"] == (768, 192)
    deep = MedicalSamAdapter.layout("vit_b_3d")
    assert len(deep.keys() - layout.keys()) == 12 * 4
    assert all("Depth_Adapter.D_fc" in name for name in deep.keys() - layout.keys())


def test_published_sizes_of_2024():
    layout = MedicalSamAdapter.layout("vit_b_2024")
    assert layout["image_encoder.pos_embed"] == (1, 64, 64, 768)
    assert layout["image_encoder.blocks.2.attn.rel_h"] == (127, 64)
    assert layout["image_encoder.blocks.3.attn.rel_w"] == (27, 64)
    assert layout["mask_decoder.transformer.layers.0.mlp.layers.0.0.weight"] == (2048, 256)
    assert layout["mask_decoder.transformer.layers.1.mlp.fc.weight"] == (256, 2048)
    assert layout["mask_decoder.mask_tokens.weight"] == (4, 256)
    lora = MedicalSamAdapter.layout("vit_b_lora")
    assert lora["image_encoder.blocks.0.attn.qkv.lora_A"] == (2 * 4, 768)
    assert lora["image_encoder.blocks.0.attn.qkv.lora_B"] == (2 * 768, 4)
    assert lora["image_encoder.blocks.0.mlp.lin2.lora_A"] == (4, 3072)
    assert lora["image_encoder.blocks.2.attn.rel_h"] == (127, 64)
    assert not any("Adapter" in name for name in lora)


def test_an_adapters_file_holds_adapters_and_decoder():
    layout, whole = MedicalSamAdapter.layout("vit_b_3d_adapters"), MedicalSamAdapter.layout("vit_b_3d")
    assert layout.items() < whole.items()
    assert all("_Adapter." in name or name.startswith("mask_decoder.") for name in layout)
    assert not any("_Adapter." in name or name.startswith("mask_decoder.") for name in whole.keys() - layout.keys())


@pytest.fixture
def small(tmp_path, monkeypatch):
    """The card's tags at a tiny size, and a store of their own."""
    monkeypatch.setenv("HILUM_WEIGHTS", str(tmp_path / "weights"))
    config = MsaConfig(TINY, slices=2, out_size=32)
    monkeypatch.setattr(
        MedicalSamAdapter, "configs", {"vit_b_3d": config, "vit_b_3d_adapters": config, "vit_b": MsaConfig(TINY)}
    )
    return config


def candidates() -> list[Candidate]:
    card = MedicalSamAdapter.card
    return [
        Candidate(card.name, tag, card.entry(tag).file, layout=lambda tag=tag: MedicalSamAdapter.layout(tag))
        for tag in MedicalSamAdapter.configs
    ]


def upstream_state(config: MsaConfig) -> dict[str, torch.Tensor]:
    state = MedicalSamAdapter.table.inverse(randomised(msa(config)).state_dict())
    return {name: tensor.contiguous() for name, tensor in state.items()}


def test_a_whole_checkpoint_is_unwrapped_recognised_and_loaded(small, tmp_path, monkeypatch):
    from hilum.weights import limited, tensor_file

    def read(source, target):
        found = unpickle.read(source, archive=True)
        tensor_file.write(target, {name: found.leaf(tensor) for name, tensor in found.state.tensors.items()})
        return limited.Report(found.state.wrappers, found.state.left_out, found.refused, found.reader, 0, 0)

    monkeypatch.setattr(limited, "unpickle", read)  # in this process: it costs seconds to start one
    state = upstream_state(small)
    checkpoint = {
        "epoch": 7,
        "model": "sam",
        "state_dict": state,
        "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": []},
        "best_tol": 0.1,
        "path_helper": {"prefix": "logs/run"},
    }
    torch.save(checkpoint, tmp_path / "checkpoint_best.pth")
    (imported,) = import_file(tmp_path / "checkpoint_best.pth", candidates())
    assert imported.record.name == "medical_sam_adapter.vit_b_3d"
    assert imported.record.wrappers == ("state_dict",)
    system = MedicalSamAdapter.open(store.find(MedicalSamAdapter.card, "vit_b_3d"), device="cpu", backend="torch")
    loaded = MedicalSamAdapter.table.inverse(system.network.state_dict())
    assert all(torch.equal(loaded[name], state[name]) for name in state)


def test_adapters_alone_are_completed_by_sams_own_file(small, tmp_path):
    state, plain = upstream_state(small), UPSTREAM.inverse(randomised(sam(TINY), seed=1).state_dict())
    own = {name: tensor for name, tensor in state.items() if MedicalSamAdapter.carries(name)}
    for name, tensors in (("own", own), ("base", {name: each.contiguous() for name, each in plain.items()})):
        save_file(tensors, tmp_path / f"{name}.safetensors")
    (imported,) = import_file(tmp_path / "own.safetensors", candidates())
    assert imported.record.name == "medical_sam_adapter.vit_b_3d_adapters"
    base = Weights("sam_study", "vit_b", tmp_path / "base.safetensors", "-")
    system = MedicalSamAdapter.open(replace(imported.weights, base=base), device="cpu", backend="torch")
    loaded = MedicalSamAdapter.table.inverse(system.network.state_dict())
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[name], own[name] if name in own else plain[name]) for name in loaded)


def test_without_sams_file_adapters_say_what_they_build_on(small, tmp_path):
    own = {name: each for name, each in upstream_state(small).items() if MedicalSamAdapter.carries(name)}
    save_file(own, tmp_path / "own.safetensors")
    import_file(tmp_path / "own.safetensors", candidates())
    with pytest.raises(WeightsUnavailable, match=r"builds on sam_study\.vit_b"):
        registry.load("medical_sam_adapter.vit_b_3d_adapters")


def test_training_begins_as_sam_where_no_window_is_padded():
    """Fresh adapters change nothing; windows before the norm differ from SAM only where cells are padded."""
    plain = randomised(sam(EVEN))
    begun = MedicalSamAdapter.begun(MsaConfig(EVEN), UPSTREAM.inverse(plain.state_dict()))
    pixels = torch.rand(2, 3, EVEN.image_size, EVEN.image_size, generator=torch.Generator().manual_seed(0))
    prompts = SamPrompts(torch.tensor([[[20.0, 30.0]], [[40.0, 10.0]]]), torch.ones(2, 1, dtype=torch.bool))
    with torch.inference_mode():
        for mine, theirs in zip(begun.network(pixels, prompts), plain(pixels, prompts), strict=True):
            torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-5)
    padded = randomised(sam(TINY))
    other = MedicalSamAdapter.begun(MsaConfig(TINY), UPSTREAM.inverse(padded.state_dict()))
    with torch.inference_mode():
        apart = (other.network.image_encoder(pixels) - padded.image_encoder(pixels)).abs().max()
    assert apart > 1e-3


@pytest.mark.parametrize(
    "config",
    [
        MsaConfig(replace(TINY, image_size=96), slices=3),
        MsaConfig(replace(TINY, image_size=96), version="2024"),
        MsaConfig(TINY, decoder_adapters=True),
    ],
)
def test_training_begins_from_sam_at_other_sizes_and_in_2024(config):
    """Positions are resized and the names of 2024 found; what SAM has is taken, down to the decoder's MLP."""
    size = 1024 if config.version == "2024" else TINY.image_size  # 2024 keeps the positions of the largest image
    plain = UPSTREAM.inverse(randomised(sam(replace(config.sam, image_size=size))).state_dict())
    state = MedicalSamAdapter.table.inverse(MedicalSamAdapter.begun(config, plain).network.state_dict())
    lin2 = "mask_decoder.transformer.layers.1.mlp."
    assert torch.equal(
        state[lin2 + ("lin2.weight" if config.version == "2023" else "fc.weight")], plain[lin2 + "lin2.weight"]
    )
    assert torch.equal(state["image_encoder.blocks.0.attn.qkv.weight"], plain["image_encoder.blocks.0.attn.qkv.weight"])


def test_another_networks_tensors_are_refused():
    plain = UPSTREAM.inverse(sam(TINY).state_dict())
    with pytest.raises(Mismatch, match="of another shape"):
        MedicalSamAdapter.begun(MsaConfig(replace(TINY, width=64)), plain)


def trained(config: MsaConfig) -> set[str]:
    named = {name: weight for name, weight in msa(config).named_parameters() if weight.requires_grad}
    return set(MedicalSamAdapter.table.inverse(named))


def test_adapters_and_decoder_are_trained_and_nothing_else():
    names = trained(MsaConfig(TINY, slices=2))
    inside = {name for name in names if name.startswith("image_encoder.")}
    assert len(inside) == TINY.depth * 3 * 4
    assert all("_Adapter." in name for name in inside)
    assert not any(name.startswith("prompt_encoder.") for name in names)
    assert {"mask_decoder.iou_token.weight", "mask_decoder.output_hypernetworks_mlps.0.layers.0.weight"} < names
    assert not any(name.startswith("mask_decoder.iou_prediction_head") for name in names)
    lora = {name for name in trained(MsaConfig(TINY, version="2024", tuning="lora")) if "image_encoder" in name}
    assert len(lora) == TINY.depth * 3 * 2
    assert all(name.endswith(("lora_A", "lora_B")) for name in lora)


@pytest.mark.parametrize(("count", "factors"), [(1, (1, 1)), (4, (2, 2)), (6, (2, 3)), (7, (1, 7)), (12, (3, 4))])
def test_slices_are_laid_out_nearly_square(count, factors):
    assert near_square(count) == factors


@pytest.mark.parametrize("grouping", ["published", "slices"])
def test_the_depth_branch_beside_a_plain_loop(grouping):
    """Each place attends along its group by the block's own attention; what a group is, the loop says by index."""
    slices, window = 4, 3
    block = randomised(msa(MsaConfig(TINY, slices=slices, grouping=grouping))).image_encoder.blocks[0].attend
    x = torch.rand(slices, 6, 6, TINY.width, generator=torch.Generator().manual_seed(0))
    flat = [x[s, i : i + window, j : j + window] for s in range(slices) for i in (0, 3) for j in (0, 3)]
    with torch.inference_mode():
        space = [block.after(block.attention(block.norm(each[None])))[0] for each in flat]
        for group in range(4):
            of = [group * slices + k if grouping == "published" else k * 4 + group for k in range(slices)]
            for p, q in np.ndindex(window, window):
                line = torch.stack([flat[k][p, q] for k in of]).reshape(1, 2, 2, -1)
                deep = block.after_depth(block.attention(block.norm(line))).reshape(slices, -1)
                for k, change in zip(of, deep, strict=True):
                    space[k][p, q] += change
        mine = block(x)
    whole = torch.zeros_like(mine)
    for number, each in enumerate(space):
        s, i, j = number // 4, number % 4 // 2 * 3, number % 2 * 3
        whole[s, i : i + window, j : j + window] = each
    torch.testing.assert_close(mine, whole, atol=1e-5, rtol=1e-5)


def test_slices_that_are_no_whole_groups_are_refused():
    network = msa(MsaConfig(TINY, slices=4))
    with pytest.raises(ValueError, match="6 slices are not whole groups of 4"):
        network.image_encoder(torch.zeros(6, 3, 64, 64))


def volume(slices: int):
    values = np.random.default_rng(0).normal(0, 100, (1, slices, 40, 44)).astype(np.float32)
    return from_array(values, spacing=(1, 1, 3), modality="MR")


def test_a_volume_is_seen_in_groups_of_adjacent_slices(monkeypatch):
    system, image = MedicalSamAdapter.tiny(), volume(5)
    runs = []
    run = MedicalSamAdapter.run
    monkeypatch.setattr(MedicalSamAdapter, "run", lambda self, batch: runs.append(batch) or run(self, batch))
    look, section = system.look(image), image.section(2)
    seen = [look.seen(section, number)["embedding"] for number in range(5)]
    assert [len(batch) for batch in runs] == [2, 2, 2]
    planes = [system.prepare(image).plane(section, number) for number in range(5)]
    for group, last in (((0, 1), (0, 1)), ((2, 3), (2, 3)), ((3, 4), (4,))):
        together = system.see_stack([planes[number] for number in group])
        for number in last:
            assert torch.equal(seen[number], together[group.index(number)]["embedding"])
    assert not torch.allclose(seen[0], system.see(planes[0])["embedding"], atol=1e-4)


def test_a_kept_group_is_read_again_without_a_look(tmp_path, monkeypatch):
    system, image = MedicalSamAdapter.tiny(), volume(4)
    section = image.section(2)
    first = [system.look(image, keep=tmp_path).seen(section, number)["embedding"] for number in range(4)]
    assert len(list(tmp_path.iterdir())) == 4
    monkeypatch.setattr(MedicalSamAdapter, "see_stack", None)
    again = [system.look(image, keep=tmp_path).seen(section, number)["embedding"] for number in range(4)]
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))


def test_fewer_slices_than_a_group_are_a_group():
    system = MedicalSamAdapter.seeded(MsaConfig(TINY, slices=6), 0)
    answer = system.ask(volume(3), Points([[20, 20, 1]]))
    assert answer.masks.shape == (1, 3, 40, 44)


def test_clicks_are_scaled_per_axis_and_exchanged_only_where_the_config_says_so():
    points, size = np.array([[11.0, 20.0]]), (40, 44)
    straight, quirk = (
        MedicalSamAdapter.seeded(MsaConfig(TINY, click=order), 0).clicks(points, size)
        for order in ("x_y", "row_column")
    )
    assert straight.tolist() == [[16.0, 32.0]]
    assert quirk.tolist() == [[32.0, 16.0]]


def test_a_checkpoint_is_asked_which_way_it_was_clicked(tmp_path, monkeypatch):
    """The file does not say it: both tags fit, and the import wants one of them named."""
    monkeypatch.setenv("HILUM_WEIGHTS", str(tmp_path / "weights"))
    sizes = {"vit_b": MsaConfig(TINY), "vit_b_row_column": MsaConfig(TINY, click="row_column")}
    assert {tag: MedicalSamAdapter.configs[tag].click for tag in sizes} == {
        tag: each.click for tag, each in sizes.items()
    }
    monkeypatch.setattr(MedicalSamAdapter, "configs", sizes)
    save_file(upstream_state(MsaConfig(TINY)), tmp_path / "best.safetensors")
    with pytest.raises(BadInput, match=r"add --as medical_sam_adapter\.vit_b"):
        import_file(tmp_path / "best.safetensors", candidates())
    (imported,) = import_file(
        tmp_path / "best.safetensors", candidates(), Wish(name="medical_sam_adapter.vit_b_row_column")
    )
    assert MedicalSamAdapter.open(imported.weights, device="cpu", backend="torch").config.click == "row_column"


def test_pictures_are_seen_as_they_are_and_ct_in_its_window():
    system = MedicalSamAdapter.tiny()
    picture = from_array(np.random.default_rng(0).integers(0, 255, (3, 20, 30)).astype(np.uint8))
    assert system.prepare(picture) is picture
    values = np.array([[-1000.0, -175.0], [37.5, 900.0]], dtype=np.float32)[None]
    prepared = system.prepare(from_array(values, modality="CT"))
    assert prepared.array[0].tolist() == [[0.0, 0.0], [0.5, 1.0]]
    assert "medical_sam_adapter saw -175 to 250 HU" in prepared.source.notes
    other = system.prepare(from_array(values, modality="MR"))
    assert other.array.min() == 0
    assert other.array.max() == 1
    assert any("display window" in note for note in other.source.notes)


def test_the_square_is_stretched_in_0_to_1_without_imagenets_constants():
    picture = np.full((1, 20, 30), 51, dtype=np.uint8)
    square = system_file.squared(picture, 64)
    assert square.shape == (3, 64, 64)
    assert torch.allclose(square, torch.tensor(0.2))
    assert torch.allclose(system_file.squared(picture.astype(np.float32) / 255, 64), square)


def test_a_plane_without_a_click_is_refused():
    system = MedicalSamAdapter.tiny()
    seen = system.see(from_array(np.zeros((1, 20, 20), dtype=np.uint8)))
    with pytest.raises(UnsupportedPrompt, match="medical_sam_adapter takes points"):
        system.draw(seen, PlanePrompt(box=np.array([[1.0, 1.0], [9.0, 9.0]])))


def disc(shape: tuple[int, int], centre: tuple[int, int], radius: int) -> np.ndarray:
    y, x = np.indices(shape)
    return (y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2


def sample(seed: int, slices: int = 0) -> Sample:
    rng = np.random.default_rng(seed)
    masks = np.stack([disc((48, 40), (18 + k + seed % 3, 20), 9) for k in range(max(slices, 1))])
    if slices > 1:
        masks[-1] = False
    array = np.clip(60 + 120 * masks + rng.normal(0, 5, masks.shape), 0, 255).astype(np.uint8)
    if not slices:
        return Sample(from_array(array), masks)
    return Sample(from_array(array[None], spacing=(1, 1, 2)), masks[None])


def test_a_training_click_lies_in_its_object_or_outside_where_there_is_none():
    system = MedicalSamAdapter.seeded(MsaConfig(TINY, slices=3, out_size=32), 0)
    for seed in range(5):
        batch = system.batch([sample(seed, slices=3)], np.random.default_rng(seed))
        assert batch.pixels.shape == (1, 3, 3, 64, 64)
        assert batch.masks.shape == (3, 1, 32, 32)
        assert batch.prompts.inside[:, 0].tolist() == [True, True, False]
        for (x, y), inside, mask in zip(
            batch.prompts.points[:, 0], batch.prompts.inside[:, 0], batch.masks[:, 0], strict=True
        ):
            assert bool(mask[min(round(float(y) / 2), 31), min(round(float(x) / 2), 31)]) == bool(inside) or inside


def test_classes_of_2024_want_a_mask_each():
    system = MedicalSamAdapter.seeded(MsaConfig(TINY, version="2024", classes=2, out_size=32), 0)
    one = sample(0)
    two = Sample(one.image, np.concatenate([one.masks, disc((48, 40), (18, 20), 4)[None]]))
    batch = system.batch([two, two], np.random.default_rng(0))
    assert batch.masks.shape == (2, 2, 32, 32)
    assert torch.isfinite(system.loss(batch).total)
    with pytest.raises(ValueError, match="a mask for each of 2 classes, got 1"):
        system.batch([one], np.random.default_rng(0))


def test_impossible_configs_are_refused():
    with pytest.raises(ValueError, match="the version of 2023 gives one mask"):
        MsaConfig(TINY, classes=2)
    with pytest.raises(ValueError, match="LoRA is the version of 2024's"):
        MsaConfig(TINY, tuning="lora")


@pytest.mark.parametrize(
    "config",
    [
        MsaConfig(TINY, out_size=32),
        MsaConfig(TINY, slices=3, out_size=32),
        MsaConfig(TINY, version="2024", out_size=32),
        MsaConfig(TINY, version="2024", tuning="lora", out_size=32),
        MsaConfig(TINY, decoder_adapters=True, out_size=32),
    ],
    ids=["pictures", "slices", "2024", "lora", "decoder adapters"],
)
def test_the_loss_goes_down_and_reaches_all_that_is_trained(config):
    system = MedicalSamAdapter.seeded(config, 0)
    batch = system.batch([sample(seed, config.slices or 0) for seed in range(2)], np.random.default_rng(0))
    weights = [weight for weight in system.network.parameters() if weight.requires_grad]
    optimiser = torch.optim.Adam(weights, lr=3e-3)
    losses = []
    for _ in range(20):
        total = system.loss(batch).total
        losses.append(float(total.detach()))
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
    assert losses[-1] < 0.85 * losses[0]
    assert all(weight.grad is not None for weight in weights)
    assert all(weight.grad is None for weight in system.network.parameters() if not weight.requires_grad)
    assert all(weight.grad.any() for weight in weights if weight.ndim > 1)


def test_a_stack_in_a_batch_does_not_see_its_neighbour():
    system = MedicalSamAdapter.tiny()
    two = system.batch([sample(0, 2), sample(1, 2)], np.random.default_rng(0))
    with torch.inference_mode():
        both = system.embedded(two.pixels)
        alone = [system.embedded(two.pixels[k : k + 1]) for k in range(2)]
    torch.testing.assert_close(both, torch.cat(alone))


def test_decoder_adapters_change_nothing_at_birth_and_then_listen_to_the_prompt():
    plain = randomised(sam(TINY))
    begun = MedicalSamAdapter.begun(MsaConfig(TINY, decoder_adapters=True), UPSTREAM.inverse(plain.state_dict()))
    embedding = torch.rand(1, TINY.channels, TINY.grid, TINY.grid, generator=torch.Generator().manual_seed(0))
    prompts = SamPrompts(torch.tensor([[[20.0, 30.0]]]), torch.ones(1, 1, dtype=torch.bool))
    with torch.inference_mode():
        torch.testing.assert_close(begun.network.ask(embedding, prompts)[0], plain.ask(embedding, prompts)[0])
        hyper = randomised(begun.network.mask_decoder.transformer.layers[0].hyper)
        x = torch.rand(1, 7, TINY.channels)
        assert not torch.allclose(hyper(x, torch.zeros_like(x)), hyper(x, torch.ones_like(x)), atol=1e-3)


def test_overlap_is_the_mean_over_the_thresholds():
    probability, truth = np.array([[0.2, 0.95], [0.6, 0.0]]), np.array([[False, True], [True, False]])
    iou, dice = system_file.overlaps(probability, truth)
    assert iou == pytest.approx(np.mean([2 / 3, 1, 1, 1 / 2, 1 / 2]))
    assert dice == pytest.approx(np.mean([4 / 5, 1, 1, 2 / 3, 2 / 3]))
    assert system_file.overlaps(np.zeros((2, 2)), np.zeros((2, 2), dtype=bool)) == (1.0, 1.0)


def test_stored_adapters_are_small(small, tmp_path):
    own = {name: each for name, each in upstream_state(small).items() if MedicalSamAdapter.carries(name)}
    save_file(own, tmp_path / "own.safetensors")
    assert load_file(tmp_path / "own.safetensors").keys() == MedicalSamAdapter.layout("vit_b_3d_adapters").keys()
