"""Texts are read once for the same weights, anew where weights change or a gradient is wanted."""

import numpy as np
import torch

from hilum.systems.biomedclip import BiomedClip
from hilum.values.image import from_array
from hilum.values.prompts import Labels


def counted(system, monkeypatch) -> list[int]:
    calls, forward = [], system.network.text.forward
    monkeypatch.setattr(system.network.text, "forward", lambda ids: calls.append(len(ids)) or forward(ids))
    return calls


def test_labels_are_read_once_for_many_images(monkeypatch):
    system = BiomedClip.tiny()
    calls = counted(system, monkeypatch)
    rng, labels = np.random.default_rng(0), Labels(("a film", "a slide"))
    images = [from_array(rng.integers(0, 256, (3, 32, 32), dtype=np.uint8)) for _ in range(4)]
    first = [system.ask(image, labels).similarity for image in images]
    assert calls == [2]
    assert np.array_equal(system.ask(images[0], labels).similarity, first[0])
    system.ask(images[0], Labels(("a film",)))
    assert calls == [2, 1]


def test_changed_weights_and_wanted_gradients_read_anew(monkeypatch):
    system = BiomedClip.tiny()
    calls = counted(system, monkeypatch)
    image = from_array(np.zeros((3, 32, 32), dtype=np.uint8))
    before = system.ask(image, Labels(("a film",))).similarity
    with torch.no_grad():
        system.network.text.proj[0].weight.mul_(-1)
    after = system.ask(image, Labels(("a film",))).similarity
    assert calls == [1, 1]
    assert not np.allclose(before, after)
    scorer = system.scorer(Labels(("a film",)))
    assert scorer(({"vector": torch.ones(1, 16)},)).requires_grad
    assert calls == [1, 1, 1]
