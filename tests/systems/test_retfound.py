"""RETFound's layout, frame, disc, vectors, masking, tuning and layer-wise decay."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from hilum.capabilities.trainable import Sample
from hilum.objectives.masked import Masking, patchified, unpatchified
from hilum.parts import fundus_disc
from hilum.parts.imagenet_frame import random_part
from hilum.parts.layer_decay import decayed, layer_of
from hilum.systems.retfound import TINY, RetFound, RetFoundConfig
from hilum.values.errors import BadInput
from hilum.values.image import Display, Image, Source, from_array

NO_MASKS = np.zeros((0, 1, 1), dtype=bool)


def photograph(height=60, width=90, radius=26, centre=(30, 50)) -> np.ndarray:
    """A lit disc with a vessel on black, in colour, and a small lit label in a corner."""
    y, x = np.indices((height, width))
    inside = (y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2
    picture = np.stack([inside * 180, inside * 90, inside * 40]).astype(np.uint8)
    picture[:, centre[0] - 1 : centre[0] + 1, centre[1] - 15 : centre[1] + 5] //= 2
    picture[:, :3, :6] = 200
    return picture


def reference(name: str, **options):
    timm = pytest.importorskip("timm")
    with torch.device("meta"):
        return {key: tuple(t.shape) for key, t in timm.create_model(name, **options).state_dict().items()}


def test_published_layout_is_timms_vit_large_and_a_decoder():
    layout = RetFound.layout("mae_nature_cfp")
    encoder = {name: shape for name, shape in layout.items() if not name.startswith(("decoder_", "mask_token"))}
    assert encoder == reference("vit_large_patch16_224", num_classes=0)
    assert sum(int(np.prod(shape)) for shape in encoder.values()) == 303_301_632
    assert layout["pos_embed"] == (1, 197, 1024)
    decoder = {name for name in layout if name.startswith("decoder_blocks.7.")}
    assert len(decoder) == 12
    assert layout["decoder_pred.weight"] == (768, 512)
    assert layout["mask_token"] == (1, 1, 512)
    assert {tag: RetFound.layout(tag) == layout for tag in RetFound.configs} == {
        "mae_nature_cfp": True,
        "mae_nature_oct": True,
        "mae_meh": True,
        "mae_shanghai": True,
        "dinov2_meh": False,
        "dinov2_shanghai": False,
    }


def test_dinov2_layout_is_timms():
    layout = RetFound.layout("dinov2_meh")
    assert layout == reference("vit_large_patch14_dinov2", img_size=224, num_classes=0)
    assert layout["pos_embed"] == (1, 257, 1024)


def test_heads_go_by_the_age_of_the_weights():
    assert RetFound.configs["mae_nature_cfp"].head_norm == "once"
    assert RetFound.configs["mae_meh"].head_norm == "twice"
    assert RetFound.configs["mae_nature_oct"].mask_ratio == 0.85
    assert [config.modality for config in RetFound.configs.values()] == ["OP", "OPT", "", "", "", ""]


def test_a_teachers_file_is_recognised_by_its_spelling():
    from hilum.app.weights_commands import candidates
    from hilum.weights.recognise import fit

    (own,) = (each for each in candidates() if each.name == "retfound.dinov2_meh")
    file = {f"backbone.{name}": shape for name, shape in RetFound.layout("dinov2_meh").items()}
    file = {name.replace("mlp.fc1", "mlp.w12").replace("mlp.fc2", "mlp.w3"): shape for name, shape in file.items()}
    beside = {"dino_head.mlp.0.weight": (2048, 1024), "ibot_head.last_layer.weight_v": (8, 8)}
    found = fit(own, {**file, **beside, "backbone.mask_token": (1, 1024)})
    assert not found.wrong, found.complaint()
    assert set(found.ignored) == {*beside, "backbone.mask_token"}
    assert not fit(own, RetFound.layout("dinov2_meh")).wrong


def test_the_disc_is_found_and_squared_and_a_cut_picture_is_left_alone():
    picture = photograph()
    left, top, right, bottom = fundus_disc.disc(picture)
    assert (left, top, right, bottom) == (24, 4, 77, 57)
    square = fundus_disc.squared(picture, (left, top, right, bottom))
    assert square.shape == (3, 53, 53)
    assert np.array_equal(square, picture[:, 4:57, 24:77])
    assert fundus_disc.disc(square) is None


def test_a_disc_cut_off_above_and_below_is_padded_with_black():
    picture = photograph(height=40, centre=(20, 50))
    bounds = fundus_disc.disc(picture[:, :, :])
    square = fundus_disc.squared(picture, bounds)
    assert square.shape[1] == square.shape[2] == 53
    assert not square[:, :6].any()
    assert not square[:, -6:].any()


def test_what_is_no_disc_is_left_alone():
    assert fundus_disc.disc(np.zeros((3, 20, 20), dtype=np.uint8)) is None
    speck = np.zeros((3, 40, 40), dtype=np.uint8)
    speck[:, 3:6, 3:6] = 250
    assert fundus_disc.disc(speck) is None
    assert fundus_disc.disc(np.full((3, 20, 20), 90, dtype=np.uint8)) is None


def test_the_cut_is_said_and_grey_slices_are_not_cut():
    system = RetFound.tiny()
    answer = system.ask(from_array(photograph(), modality="OP"))
    assert "retfound saw the fundus disc, x 24 to 76, y 4 to 56, squared" in answer.provenance.notes
    cut = system.ask(from_array(fundus_disc.squared(photograph(), (24, 4, 77, 57)), modality="OP"))
    np.testing.assert_allclose(answer.vectors, cut.vectors, atol=1e-6)
    assert any("whole photograph" in note for note in cut.provenance.notes)
    slice_ = from_array(photograph()[:1], modality="OPT")
    assert not any("disc" in note for note in system.ask(slice_).provenance.notes)
    whole = system.uncut().ask(from_array(photograph(), modality="OP"))
    assert not any("disc" in note for note in whole.provenance.notes)
    assert np.abs(whole.vectors - answer.vectors).max() > 1e-4


def test_an_image_of_the_other_kind_is_taken_and_said():
    system = RetFound(RetFound.tiny().network, replace(TINY, modality="OPT"))
    notes = system.ask(from_array(photograph(), modality="OP")).provenance.notes
    assert "retfound.tiny was trained on OPT; this image says OP" in notes
    assert not any(
        "trained on" in note for note in system.ask(from_array(photograph(), modality="OPT")).provenance.notes
    )


def test_other_depths_are_seen_in_8_bit_by_the_window_and_said():
    values = np.linspace(0, 4000, 40 * 40).reshape(1, 40, 40).astype(np.uint16)
    image = Image(values, np.eye(4), "pixel", Display(0, 2000), Source(modality="OPT"))
    prepared = RetFound.tiny().prepare(image)
    assert prepared.array.shape == (3, 40, 40)
    assert prepared.array.dtype == np.uint8
    assert prepared.array[0, -1, -1] == 255
    assert "retfound saw 0 to 2000 in 8 bit" in prepared.source.notes


def test_the_vector_is_the_normalised_mean_of_the_patches():
    system = RetFound.tiny()
    picture = np.random.default_rng(0).integers(0, 255, (3, 40, 44)).astype(np.uint8)
    with torch.inference_mode():
        tokens = system.network.encoder.tokens(system.pixels(picture))[0, 1:].mean(0)
    wanted = (tokens - tokens.mean()) / (tokens.var(correction=0) + 1e-6).sqrt()
    np.testing.assert_allclose(system.ask(from_array(picture)).vectors[0], wanted, atol=1e-5)


def test_dinov2_weights_give_their_class_token():
    config = RetFoundConfig(encoder=replace(TINY.encoder, layer_scale=0.1), pool="class", disc=False)
    system = RetFound.seeded(config, 0)
    picture = np.random.default_rng(0).integers(0, 255, (3, 40, 44)).astype(np.uint8)
    with torch.inference_mode():
        wanted = system.network.encoder(system.pixels(picture))[:, 0]
    np.testing.assert_allclose(system.ask(from_array(picture)).vectors, wanted, atol=1e-6)
    batch = system.batch([Sample(from_array(picture), NO_MASKS)], np.random.default_rng(0))
    with pytest.raises(BadInput, match="have no decoder"):
        system.loss(batch)


def test_patches_are_laid_out_again():
    pixels = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert torch.equal(unpatchified(patchified(pixels, 4), 4), pixels)


@pytest.mark.parametrize("ratio", [0.0, 0.75, 0.85, 0.999])
def test_masking_keeps_the_smallest_noise_and_at_least_one(ratio):
    noise = torch.rand(3, 16, generator=torch.Generator().manual_seed(0))
    masking = Masking.by_noise(noise, ratio)
    count = max(1, int(16 * (1 - ratio)))
    assert masking.kept.shape == (3, count)
    assert (masking.removed == 0).sum(1).tolist() == [count] * 3
    assert torch.equal(masking.kept, noise.argsort(1)[:, :count])
    assert not masking.removed.gather(1, masking.kept).any()


def test_what_is_hidden_cannot_be_seen():
    """Change every hidden pixel: the guess must not move."""
    system = RetFound.tiny()
    generator = torch.Generator().manual_seed(0)
    pixels, noise = torch.randn(1, 3, 32, 32, generator=generator), torch.rand(1, 16, generator=generator)
    masking = Masking.by_noise(noise, 0.75)
    patches = patchified(pixels, 8)
    other = torch.where(masking.removed[..., None].bool(), torch.randn(patches.shape, generator=generator), patches)
    with torch.inference_mode():
        one, two = (system.network.guess(each, masking) for each in (pixels, unpatchified(other, 8)))
    torch.testing.assert_close(one, two)


def test_batches_repeat_with_their_seed_and_the_loss_goes_down():
    rng = np.random.default_rng(0)
    samples = [Sample(from_array(photograph(centre=(30, int(x)))), NO_MASKS) for x in rng.integers(30, 60, 4)]
    system = RetFound.tiny()
    one, two = (system.batch(samples, np.random.default_rng(5)) for _ in range(2))
    assert torch.equal(one.pixels, two.pixels)
    assert torch.equal(one.noise, two.noise)
    optimiser = torch.optim.AdamW([w for w in system.network.parameters() if w.requires_grad], lr=3e-3)
    losses = []
    for _ in range(25):
        loss = system.loss(one).total
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0]


def test_random_parts_lie_inside_and_have_the_area_asked_for():
    rng = np.random.default_rng(0)
    for _ in range(200):
        left, top, width, height = random_part((120, 80), rng, (0.2, 1.0))
        assert 0 <= left <= 120 - width
        assert 0 <= top <= 80 - height
        assert 0.18 < width * height / (120 * 80) <= 1
    assert random_part((4, 900), rng, (0.9, 1.0)) == (0, 448, 4, 4)


def test_a_model_to_tune_keeps_the_encoder_and_starts_its_head_anew():
    system = RetFound.tiny()
    model = system.with_classes(4)
    picture = np.random.default_rng(0).integers(0, 255, (3, 40, 44)).astype(np.uint8)
    np.testing.assert_allclose(
        model.ask(from_array(picture)).vectors, system.ask(from_array(picture)).vectors, atol=1e-6
    )
    assert model.network.decoder is None
    assert model.network.head.weight.std() < 1e-4
    assert model.network.encoder.blocks[-1].drop_path.rate == pytest.approx(0.2)
    terms = model.classify(model.pixels(picture).expand(2, -1, -1, -1), torch.tensor([0, 3]))
    assert float(terms.total.detach()) == pytest.approx(np.log(4), abs=0.01)
    assert not model.network.training
    terms.total.backward()
    assert all(weight.grad is not None for weight in model.network.parameters())
    upstream = RetFound.table.inverse(model.network.state_dict())
    assert {"fc_norm.weight", "head.bias", "pos_embed"} <= upstream.keys()
    assert not any(name.startswith(("norm", "decoder")) for name in upstream)


def test_a_model_of_another_size_has_resampled_positions():
    model = RetFound.tiny().with_classes(2, image_size=48)
    assert model.network.encoder.pos_embed.shape == (1, 1 + 36, TINY.encoder.dim)
    assert model.pixels(photograph()).shape == (1, 3, 48, 48)


def test_rates_fall_with_depth_and_flat_weights_do_not_decay():
    model = RetFound.tiny().with_classes(2)
    depth = TINY.encoder.depth
    groups = decayed(model.network, depth=depth, rate=1.0, decay=0.5, weight_decay=0.05)
    named = {id(weight): name for name, weight in model.network.named_parameters()}
    found = {named[id(weight)]: group for group in groups for weight in group["params"]}
    assert found.keys() == set(named.values())
    assert found["encoder.patch_embed.proj.weight"]["lr"] == 0.5 ** (depth + 1)
    assert found["encoder.blocks.0.attn.qkv.weight"]["lr"] == 0.5**depth
    assert found["encoder.blocks.1.attn.qkv.weight"]["share"] == 0.5 ** (depth - 1)
    assert found["head.weight"]["lr"] == found["fc_norm.weight"]["lr"] == 1.0
    assert found["head.weight"]["weight_decay"] == 0.05
    assert found["head.bias"]["weight_decay"] == found["encoder.pos_embed"]["weight_decay"] == 0
    assert layer_of("encoder.cls_token", depth) == 0
