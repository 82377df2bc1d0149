"""OpenVINO runs what torch runs, keeps it on disk, and tells nobody."""

import socket
import threading

import pytest
import torch

from hilum.backends import cache, counting, openvino
from hilum.backends.agreement import relative_error
from hilum.backends.openvino import GRAPH, OpenVino
from hilum.parts.sam import TINY, sam
from hilum.values import progress
from hilum.values.errors import Failed

SHAPE = (1, 3, 64, 64)


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    network = sam(TINY).image_encoder.eval()
    for name, parameter in network.named_parameters():
        if "relative" in name or "position" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return network


@pytest.fixture(scope="module")
def pixels():
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def reference(encoder, pixels):
    with torch.inference_mode():
        return encoder(pixels)


@pytest.fixture(scope="module")
def graph(encoder):
    return openvino.converted(encoder, SHAPE)


def test_the_compiled_encoder_answers_as_torch_does(graph, pixels, reference):
    assert relative_error(openvino.runner(graph, "f32")(pixels), reference) < 1e-5


def test_the_form_that_is_exported_is_the_same_on_a_grid_that_is_no_square(encoder):
    pixels = torch.randn(2, 3, 40, 72, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        plain = encoder(pixels)
        with counting._as_exported():
            exported = encoder(pixels)
    assert relative_error(exported, plain) < 1e-5


def test_an_answer_is_not_overwritten_by_the_next(graph, pixels):
    run = openvino.runner(graph, "f32")
    first = run(pixels)
    kept = first.clone()
    run(-pixels)
    assert torch.equal(first, kept)


def test_threads_wait_for_one_another(graph, pixels, reference):
    run, seen = openvino.runner(graph, "f32"), []
    threads = [threading.Thread(target=lambda: seen.append(run(pixels))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(relative_error(each, reference) < 1e-5 for each in seen)
    assert len(seen) == 4


def test_a_later_process_finds_the_graph_on_disk(encoder, pixels, reference, graph, monkeypatch, tmp_path):
    monkeypatch.setenv("HILUM_CACHE", str(tmp_path))
    monkeypatch.setattr(openvino, "converted", lambda module, shape: graph)
    OpenVino("f32").compile(encoder, SHAPE, key="")

    def never(module, shape):
        raise AssertionError("converted again")

    monkeypatch.setattr(openvino, "converted", never)
    run = OpenVino("f32").compile(encoder, SHAPE, key="")
    assert relative_error(run(pixels), reference) < 1e-5
    assert [place.name for place in cache.compiled().iterdir()] == [OpenVino("f32").place(encoder, SHAPE, key="").name]


def test_conversion_opens_no_socket_and_leaves_no_telemetry_folder(encoder, monkeypatch, tmp_path):
    def refused(*_, **__):
        raise AssertionError("a socket was opened")

    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refused, raising=False)
    monkeypatch.setattr(socket, "getaddrinfo", refused)
    openvino.converted(encoder, SHAPE)
    assert list(tmp_path.iterdir()) == []


def test_int8_keeps_weights_in_a_quarter_of_the_bytes_and_stays_near(monkeypatch, tmp_path):
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(256, 512), torch.nn.GELU(), torch.nn.Linear(512, 256)).eval()
    given = torch.randn(8, 256)
    monkeypatch.setenv("HILUM_CACHE", str(tmp_path))
    runs = {name: OpenVino(name).compile(network, (8, 256), key="") for name in ("f32", "int8")}
    places = {name: OpenVino(name).place(network, (8, 256), key="") for name in runs}
    size = {name: (place / GRAPH).with_suffix(".bin").stat().st_size for name, place in places.items()}
    assert size["int8"] < 0.27 * size["f32"]
    assert 0 < relative_error(runs["int8"](given), runs["f32"](given)) < 0.02


def test_a_row_of_int8_products_depends_on_no_other_row(monkeypatch, tmp_path):
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(256, 512), torch.nn.GELU(), torch.nn.Linear(512, 256)).eval()
    given, others = torch.randn(1, 256), 100 * torch.randn(7, 256)
    monkeypatch.setenv("HILUM_CACHE", str(tmp_path))
    run = OpenVino("int8").compile(network, (8, 256), key="")
    assert torch.equal(run(torch.cat([given, others]))[0], run(torch.cat([torch.zeros(7, 256), given]))[7])


def test_a_module_that_cannot_be_exported_is_refused_in_a_sentence():
    class Doubtful(torch.nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    with pytest.raises(Failed, match="Doubtful cannot be prepared for OpenVINO"):
        openvino.converted(Doubtful(), (2, 2))


def test_a_damaged_graph_is_refused_with_what_to_do(tmp_path):
    (tmp_path / GRAPH).write_text("no graph")
    with pytest.raises(Failed, match="remove it"):
        openvino.runner(tmp_path / GRAPH, "f32")


def test_what_was_kept_of_compiling_may_be_damaged(encoder, graph, pixels, reference, tmp_path):
    openvino.save(graph, tmp_path / GRAPH)
    openvino.runner(tmp_path / GRAPH, "f32")
    blobs = [file for file in tmp_path.iterdir() if file.suffix not in (".xml", ".bin")]
    assert blobs
    for blob in blobs:
        blob.write_bytes(blob.read_bytes()[: blob.stat().st_size // 2])
    assert relative_error(openvino.runner(tmp_path / GRAPH, "f32")(pixels), reference) < 1e-5


def test_without_a_cache_folder_it_still_runs_and_says_so(encoder, graph, pixels, reference, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("HILUM_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(openvino, "converted", lambda module, shape: graph)
    said = []
    with progress.heard_by(lambda sentence, done, total: said.append(sentence)):
        run = OpenVino("f32").compile(encoder, SHAPE, key="")
    assert relative_error(run(pixels), reference) < 1e-5
    assert any("cannot be kept" in sentence for sentence in said)
