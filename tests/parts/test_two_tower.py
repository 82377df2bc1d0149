"""Texts are read once for the same weights, anew where weights change or a gradient is wanted."""

import numpy as np
import torch
from PIL import Image as Pillow

from hilum.bench import label_records
from hilum.parts import two_tower
from hilum.systems.biomedclip import BiomedClip
from hilum.systems.medclip import MedClip
from hilum.train import labelled
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


def test_the_bench_reads_texts_once_for_all_images(monkeypatch, tmp_path):
    rng = np.random.default_rng(0)
    for number in range(5):
        Pillow.fromarray(rng.integers(0, 256, (32, 32), dtype=np.uint8)).save(tmp_path / f"{number}.png")
    (tmp_path / "table.csv").write_text("\n".join(["file,film", *(f"{number}.png,1" for number in range(5))]))
    images = labelled.read(tmp_path / "table.csv", ("film",)).images
    system, labels = BiomedClip.tiny(), Labels(("film",), templates=("a {}", "one {}"))
    calls = counted(system, monkeypatch)
    settings = label_records.Settings.of(system, labels, modality=None, backend="torch")
    found, failed = label_records.scored(system, images, labels, settings, None)
    assert (len(found.images), failed, calls) == (5, {}, [2])


def test_phrases_of_classes_that_are_read_one_by_one_are_read_once(monkeypatch):
    system = MedClip.tiny()
    calls, encoded = [], system.encoded
    monkeypatch.setattr(MedClip, "encoded", lambda self, texts: calls.append(len(texts)) or encoded(texts))
    labels = Labels(tuple(f"finding {number}" for number in range(20)))
    image = from_array(np.zeros((1, 32, 32), dtype=np.uint8))
    first, again = (system.ask(image, labels).similarity for _ in range(2))
    assert calls == [1] * 20
    assert np.array_equal(first, again)


def test_the_texts_read_longest_ago_are_forgotten_first(monkeypatch):
    monkeypatch.setattr(two_tower, "TEXTS", 3)
    system = BiomedClip.tiny()
    calls = counted(system, monkeypatch)
    with torch.no_grad():
        for texts in (("a", "b"), ("c",), ("a", "b"), ("d",), ("a", "b"), ("c",)):
            two_tower.read_once(system.encoded, texts)
    assert calls == [2, 1, 1, 1]


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
