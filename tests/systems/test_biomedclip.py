"""BiomedCLIP's traps: a buffer of older libraries in the file, long captions, and texts of one label."""

import numpy as np
import pytest
import torch

from hilum.app.weights_commands import candidates
from hilum.systems.biomedclip import PAPER, BiomedClip
from hilum.values.image import from_array
from hilum.values.prompts import Labels
from hilum.weights.recognise import fit


def picture(seed: int = 0):
    return from_array(np.random.default_rng(seed).integers(0, 256, (3, 40, 56)).astype(np.uint8))


def test_the_published_file_fits_with_and_without_the_buffer_of_positions():
    layout = BiomedClip.layout("vit_b_16")
    assert sum(int(np.prod(shape)) for shape in layout.values()) == pytest.approx(196e6, rel=0.01)  # the card's count
    mine = next(each for each in candidates() if each.name == "biomedclip.vit_b_16")
    buffer = "text.transformer.embeddings.position_ids"
    found = fit(mine, {**layout, buffer: (1, 512)})
    assert not found.wrong
    assert found.ignored == (buffer,)
    assert not fit(mine, layout).wrong
    assert not any("pooler" in name for name in layout)


def test_captions_have_room_for_256_ids():
    assert PAPER.reading.context == 256
    assert PAPER.reading.whole


def test_the_answer_does_not_depend_on_how_far_a_text_is_padded():
    system = BiomedClip.tiny()
    ids = system.read(["brain MRI"])
    assert ids.shape == (1, system.config.reading.context)
    with torch.no_grad():
        torch.testing.assert_close(system.network.text(ids), system.network.text(ids[:, ids[0] > 0]), atol=1e-6, rtol=0)


def test_softmax_is_over_the_labels_given_and_texts_of_a_label_are_one_class():
    system = BiomedClip.tiny()
    answer = system.ask(picture(), Labels(("brain MRI", "chest X-ray"), templates=("{}", "this is a photo of {}")))
    assert answer.softmax.sum() == pytest.approx(1)
    with torch.no_grad():
        own = torch.nn.functional.normalize(system.encoded(["brain MRI", "this is a photo of brain MRI"]), dim=-1)
        image = torch.from_numpy(system.ask(picture()).vectors[0])
        cosine = torch.cosine_similarity(own.mean(0), image, dim=0)
    assert answer.similarity[0] == pytest.approx(float(cosine), abs=1e-5)
