"""PTUnifier's traps: what its file holds, RoBERTa's words, missing halves, false pairs, pools that learn."""

import numpy as np
import pytest
import torch

from hilum.capabilities.trainable import Captioned
from hilum.parts import tokens
from hilum.parts.tokens import Reading, Tokens
from hilum.systems.ptunifier import PTUnifier, sentence
from hilum.values.errors import BadInput
from hilum.values.image import from_array
from hilum.values.prompts import Labels
from hilum.weights.recognise import Candidate, fit


def picture(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (3, 50, 70)).astype(np.uint8)


def test_the_published_file_has_eleven_layers_of_clip_and_positions_for_288_pixels():
    layout = PTUnifier.layout("pretrained")
    assert layout["vision_encoder.visual.positional_embedding"] == (325, 768)
    assert "vision_encoder.visual.transformer.resblocks.10.ln_1.weight" in layout
    assert "vision_encoder.visual.transformer.resblocks.11.ln_1.weight" not in layout
    assert "vision_encoder.visual.proj" not in layout
    assert layout["language_encoder.embeddings.position_embeddings.weight"] == (514, 768)
    assert layout["pseudo_vision_token_pool"] == layout["pseudo_language_token_pool"] == (2048, 768)
    assert layout["multi_modal_language_layers.5.crossattention.self.query.weight"] == (768, 768)
    assert layout["itc_head.vision_proj.weight"] == (768, 1536)
    assert layout["mlm_head.decoder.weight"] == (50265, 768)
    assert not any(name.startswith("mim_head.") for name in layout)


def test_what_the_towers_files_carried_along_is_left_out():
    layout = PTUnifier.layout("pretrained")
    along = {
        "vision_encoder.token_embedding.weight": (49408, 512),
        "vision_encoder.positional_embedding": (77, 512),
        "vision_encoder.ln_final.weight": (512,),
        "vision_encoder.ln_final.bias": (512,),
        "language_encoder.pooler.dense.weight": (768, 768),
        "language_encoder.pooler.dense.bias": (768,),
        "language_encoder.embeddings.position_ids": (1, 514),
    }
    candidate = Candidate("ptunifier", "pretrained", "x.ckpt", lambda: layout, spelling=lambda: PTUnifier.spelling)
    found = fit(candidate, layout | along)
    assert not found.wrong
    assert set(found.ignored) == set(along)


def written(place, *, pad: bool = True):
    """A file of byte pairs in RoBERTa's manner, of a few words."""
    from tokenizers import ByteLevelBPETokenizer
    from tokenizers.processors import RobertaProcessing

    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"] if pad else ["<s>", "</s>"]
    reader = ByteLevelBPETokenizer()
    reader.train_from_iterator(["No pleural effusion is seen."] * 3, vocab_size=300, special_tokens=special)
    ends = (("</s>", reader.token_to_id("</s>")), ("<s>", reader.token_to_id("<s>")))
    reader._tokenizer.post_processor = RobertaProcessing(*ends)
    reader.save(str(place))
    return place


def test_robertas_words_keep_their_case_and_are_padded_with_their_own_id(tmp_path):
    read = tokens.tokenizer(Reading("roberta", 48), lambda: written(tmp_path / tokens.PAIRS))
    found = read(["No effusion", "no effusion", "a"])
    assert not torch.equal(found.ids[0], found.ids[1])
    assert found.ids[:, 0].tolist() == [0, 0, 0]
    assert found.ids[2][found.mask[2]].tolist()[-1] == 2
    assert set(found.ids[~found.mask].tolist()) == {1}
    assert read(["effusion " * 90]).ids.shape == (1, 48)
    with pytest.raises(BadInput, match="has no <pad>"):
        tokens.tokenizer(Reading("roberta", 48), lambda: written(tmp_path / "other.json", pad=False))


@torch.no_grad()
def test_padding_changes_neither_a_text_nor_a_pair():
    system = PTUnifier.tiny()
    network, words = system.network, system.words(["no effusion"])
    longer = Tokens(
        torch.nn.functional.pad(words.ids, (0, 5), value=system.config.text.pad),
        torch.nn.functional.pad(words.mask, (0, 5)),
    )
    image = network(torch.randn(1, 3, 32, 32))
    torch.testing.assert_close(network.text_alone(longer).pooled, network.text_alone(words).pooled)
    torch.testing.assert_close(network.paired(image, longer).pooled, network.paired(image, words).pooled)
    places = network.text.embeddings.create_position_ids_from_input_ids(longer.ids, system.config.text.pad)
    assert places[0, :4].tolist() == [1, 2, 3, 4]  # behind the id of padding, which is 0 here


@torch.no_grad()
def test_prompts_stand_where_a_half_is_missing():
    network = PTUnifier.tiny().network
    pixels = torch.randn(2, 3, 32, 32)
    alone = network.image_alone(network(pixels), network.image_query(pixels))
    assert alone.text.shape[1] == network.pools.language_picked + 2
    assert alone.image.shape[1] == 5
    text = network.text_alone(PTUnifier.tiny().words(["no effusion", "a fracture of the rib"]))
    assert text.image.shape[1] == network.pools.vision_picked + 1


def test_half_of_the_texts_stand_beside_another_picture():
    system, rng = PTUnifier.tiny(), np.random.default_rng(0)
    samples = [Captioned(from_array(picture(seed)), f"case {seed}. Nothing else") for seed in range(6)]
    batch = system.pairs(samples, rng)
    own = torch.arange(6)
    assert batch.true.sum() == 3
    assert torch.equal(batch.shown == own, batch.true.bool())
    one = system.pairs(samples[:1], rng)
    assert one.true.tolist() == [1]
    assert torch.isfinite(system.loss(one).total)


def test_hidden_words_and_pools_are_taught():
    system = PTUnifier.tiny()
    samples = [
        Captioned(from_array(picture(seed)), text) for seed, text in enumerate(("a clear lung", "a rib is broken"))
    ]
    batch = system.pairs(samples, np.random.default_rng(1))
    assert batch.hidden.asked.any(dim=1).all()
    assert not batch.hidden.asked[~batch.words.mask].any()
    terms = system.loss(batch)
    assert set(terms.parts) == {"words", "match", "contrast", "patches"}
    terms.total.backward()
    for pool, most in ((system.network.vision_pool, 8), (system.network.text_pool, 6)):
        taught = pool.grad.abs().sum(dim=1) > 0
        assert 0 < int(taught.sum()) <= most  # the rows that were picked, and no other


def test_one_sentence_of_a_report_is_read():
    rng = np.random.default_rng(0)
    report = "Lungs are clear.\nNo effusion is seen! Heart size is 1.5 times normal"
    found = {sentence(report, rng) for _ in range(40)}
    assert found == {"Lungs are clear.", "No effusion is seen!", "Heart size is 1.5 times normal"}
    assert sentence("  ", rng) == " "


def test_many_texts_are_fused_a_few_at_a_time():
    system, image = PTUnifier.tiny(), from_array(picture())
    texts = tuple((f"finding {number}", f"sign of finding {number}") for number in range(12))
    names = tuple(f"f{number}" for number in range(12))
    answer = system.ask(image, Labels(names, texts=texts))
    single = [
        system.ask(image, Labels((name,), texts=(each,))).similarity[0] for name, each in zip(names, texts, strict=True)
    ]
    np.testing.assert_allclose(answer.similarity, single, atol=1e-5)
    assert answer.softmax.sum() == pytest.approx(1.0, abs=1e-5)


def test_it_opens_from_a_file_as_it_was(tmp_path, monkeypatch):
    from safetensors.torch import save_file

    from hilum.weights.store import Weights

    system = PTUnifier.tiny(seed=2)
    monkeypatch.setattr(PTUnifier, "configs", {"pretrained": system.config})
    upstream = PTUnifier.table.inverse(system.network.state_dict())
    save_file({name: each.contiguous() for name, each in upstream.items()}, tmp_path / "model.safetensors")
    weights = Weights("ptunifier", "pretrained", tmp_path / "model.safetensors", "a")
    opened = PTUnifier.open(weights, backend="torch")
    image = from_array(picture())
    np.testing.assert_allclose(opened.ask(image).vectors, system.ask(image).vectors, atol=1e-6)
    labels = Labels(("effusion", "fracture"))
    np.testing.assert_allclose(opened.ask(image, labels).similarity, system.ask(image, labels).similarity, atol=1e-6)
