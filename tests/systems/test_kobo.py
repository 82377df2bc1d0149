"""KoBo, reconstructed: what is known of a sample, who is no negative of whom, what learns."""

import numpy as np
import pytest
import torch

from hilum.capabilities.trainable import Captioned
from hilum.objectives.knowledge_noise import overlap
from hilum.systems.kobo import KoBo
from hilum.values.errors import BadInput, WeightsUnavailable
from hilum.values.image import from_array


def film(seed: int):
    values = np.random.default_rng(seed).integers(0, 255, size=(1, 90, 80))
    return from_array(values.astype(np.uint8), modality="DX")


@pytest.fixture(scope="module")
def tiny():
    return KoBo.tiny()


def shared(system, *findings: dict[str, int]) -> torch.Tensor:
    return overlap(torch.from_numpy(np.stack([system.known(each) for each in findings])))


def test_those_who_say_the_same_are_no_negatives_and_those_who_deny_it_are(tiny):
    found = shared(tiny, {"edema": 1}, {"Edema": 1}, {"edema": 0}, {"edema": -1}, {})
    assert found[0, 1] == pytest.approx(1)
    assert found[0, 2] == 0
    assert not found[3].any()  # unsure
    assert not found[4].any()  # nothing known


def test_a_part_in_common_is_a_part_shared(tiny):
    found = shared(tiny, {"edema": 1, "effusion": 1}, {"edema": 1, "effusion": 0}, {"edema": 1})
    assert 0 < found[0, 2] < 1
    assert found[0, 2] > found[0, 1]


def test_vectors_of_a_graph_may_be_handed_in(tiny):
    near = np.eye(tiny.config.joint)[0]
    system = tiny.knowing({"Edema": near, "congestion": near + 0.1})
    assert shared(system, {"edema": 1}, {"congestion": 1})[0, 1] > 0.9
    assert shared(tiny, {"edema": 1}, {"congestion": 1})[0, 1] < 0.9
    with pytest.raises(BadInput, match="kobo's have 12 numbers"):
        tiny.knowing({"edema": np.ones(3)})


def test_films_and_reports_learn_with_knowledge_and_without():
    for findings in ({"effusion": 1}, {}):
        system = KoBo.tiny()
        system.network.train()
        samples = [Captioned(film(1), "a large effusion", findings), Captioned(film(2), "clear lungs", {"effusion": 0})]
        terms = system.loss(system.pairs(samples, np.random.default_rng(0)))
        terms.total.backward()
        assert set(terms.parts) == {"enhancement", "guidance"}
        assert all(weight.grad is not None for weight in system.network.parameters())
        assert torch.isfinite(terms.total)


def test_weights_that_nobody_publishes_are_not_sent_for(tmp_path, monkeypatch):
    from hilum import registry
    from hilum.app.weights_commands import candidates
    from hilum.weights import hub

    monkeypatch.setenv("HILUM_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsUnavailable, match=r"nobody publishes kobo_resnet50\.safetensors; train it"):
        registry.load("kobo")
    candidate = next(each for each in candidates() if each.system == "kobo")
    with pytest.raises(BadInput, match="cannot be pulled: nobody publishes"):
        hub.pull(candidate, registry.card("kobo").entry("resnet50"))


def test_a_few_steps_bring_pairs_together():
    system = KoBo.tiny()
    findings = [{"effusion": 1}, {"effusion": 0}, {"nodule": 1}, {"fracture": 1}]
    texts = ["a large effusion", "no effusion", "a nodule", "a rib fracture"]
    samples = [Captioned(film(n), text, known) for n, (text, known) in enumerate(zip(texts, findings, strict=True))]
    batch = system.pairs(samples, np.random.default_rng(0))
    steps = torch.optim.AdamW(system.network.parameters(), lr=3e-3)
    costs = []
    for _ in range(25):
        terms = system.loss(batch)
        steps.zero_grad()
        terms.total.backward()
        steps.step()
        costs.append(float(terms.total.detach()))
    assert costs[-1] < costs[0] / 2
