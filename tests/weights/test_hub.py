"""Pulling: over https alone, resumed where it broke, checked, imported; and one sentence where it cannot be."""

import hashlib
import os
import socket
from pathlib import Path

import pytest
import torch
from loopback import Site, served
from safetensors.torch import load_file, save
from torch_files import candidate, state

from hilum.values import progress
from hilum.values.card import WeightsEntry
from hilum.values.errors import BadInput, Failed, WeightsUnavailable
from hilum.weights import download, hub, store
from hilum.weights.download import Refused, Unreachable, checked, fetch

CONTENT = bytes(range(256)) * 4096


@pytest.fixture(autouse=True)
def _own(tmp_path, monkeypatch):
    monkeypatch.setenv("HILUM_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv(download.LOOPBACK, "1")
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def got(site: Site, target: Path) -> bytes:
    pauses: list[float] = []
    fetch(f"{site.address}/file.bin", target, pause=pauses.append)
    assert sorted(path.name for path in target.parent.iterdir()) == [target.name]
    return target.read_bytes()


@pytest.mark.parametrize(
    "address",
    [
        "http://example.org/a",
        "ftp://example.org/a",
        "file:///etc/passwd",
        "https:///a",
        "a",
        "http://127.0.0.1.nip.io/a",
    ],
)
def test_nothing_weaker_than_https_is_fetched(address, tmp_path):
    with pytest.raises(BadInput, match="https only"):
        fetch(address, tmp_path / "a")


def test_plain_http_from_this_machine_needs_the_tests_own_word(monkeypatch):
    assert checked("http://127.0.0.1:9/a")
    monkeypatch.delenv(download.LOOPBACK)
    with pytest.raises(BadInput, match="https only"):
        checked("http://127.0.0.1:9/a")


def test_a_file_is_fetched_with_progress(tmp_path):
    heard: list[tuple[str, int, int | None]] = []
    with served(Site(CONTENT)) as site, progress.heard_by(lambda *said: heard.append(said)):
        assert got(site, tmp_path / "file.bin") == CONTENT
    assert heard[-1] == ("fetching file.bin", len(CONTENT), len(CONTENT))


def test_a_broken_transfer_goes_on_where_it_broke(tmp_path):
    with served(Site(CONTENT, troubles=["break", "break", "503", "break"])) as site:
        assert got(site, tmp_path / "file.bin") == CONTENT
    assert site.sent == len(CONTENT)
    assert [wanted for _, _, wanted in site.requests][1:2] == [f"bytes={len(CONTENT) // 2}-"]


def test_a_later_process_goes_on_where_an_earlier_one_was_stopped(tmp_path):
    class Stop(Exception):
        pass

    def stop(_: float) -> None:
        raise Stop

    with served(Site(CONTENT, troubles=["break"])) as site:
        with pytest.raises(Stop):
            fetch(f"{site.address}/file.bin", tmp_path / "file.bin", pause=stop)
        assert (tmp_path / "file.bin.part").stat().st_size == len(CONTENT) // 2
        assert not (tmp_path / "file.bin").exists()
        assert got(site, tmp_path / "file.bin") == CONTENT
    assert site.sent == len(CONTENT)


@pytest.mark.parametrize("etag", ['"one"', 'W/"weak"', ""])
@pytest.mark.parametrize("ranges", [True, False], ids=["ranges", "no ranges"])
def test_halves_of_different_files_are_never_put_together(tmp_path, ranges, etag):
    with served(Site(CONTENT, etag=etag, ranges=ranges, troubles=["break", "changed"])) as site:
        assert got(site, tmp_path / "file.bin") == CONTENT[::-1]


def test_a_server_that_gives_no_length_is_read_to_its_end(tmp_path):
    with served(Site(CONTENT, troubles=["no length"])) as site:
        assert got(site, tmp_path / "file.bin") == CONTENT


def test_a_server_that_never_recovers_is_given_up(tmp_path):
    with served(Site(CONTENT, troubles=["503"] * 20)) as site, pytest.raises(Failed, match="6 times in a row"):
        got(site, tmp_path / "file.bin")
    assert len(site.requests) == download.ATTEMPTS


@pytest.mark.parametrize(
    ("trouble", "kind", "sentence"),
    [
        ("404", Failed, "404"),
        ("401", Refused, "wants a permission"),
        ("403", Refused, "wants a permission"),
        ("page", Failed, "a web page instead of a file"),
        ("http://example.org/file.bin", BadInput, "https only"),
    ],
)
def test_an_answer_that_is_no_file_is_one_sentence(tmp_path, trouble, kind, sentence):
    with served(Site(CONTENT, troubles=[trouble])) as site, pytest.raises(kind, match=sentence):
        got(site, tmp_path / "file.bin")
    assert not (tmp_path / "file.bin").exists()


def test_no_network_is_one_sentence_at_once(tmp_path):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{nobody.getsockname()[1]}/file.bin"
        with pytest.raises(Unreachable, match=r"127\.0\.0\.1 cannot be reached"):
            fetch(address, tmp_path / "file.bin", pause=pytest.fail)


def test_two_processes_do_not_write_one_file(tmp_path):
    fcntl = pytest.importorskip("fcntl")
    with (tmp_path / "file.bin.lock").open("w") as other, served(Site(CONTENT)) as site:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(Failed, match="another process"):
            fetch(f"{site.address}/file.bin", tmp_path / "file.bin")


def weights_file(seed: int = 0) -> bytes:
    return save(state(seed))


def entry(source: str, content: bytes = b"", **changes) -> WeightsEntry:
    digest = hashlib.sha256(content).hexdigest() if content else ""
    return WeightsEntry("big", "model.safetensors", source, "CC BY 4.0", **{"sha256": digest, **changes})


BIG = candidate(file="model.safetensors")


def test_a_pull_says_the_licence_first_then_checks_imports_and_clears_up(tmp_path):
    heard: list[str] = []
    content = weights_file()
    with served(Site(content)) as site, progress.heard_by(lambda what, *_: heard.append(what)):
        source = f"{site.address}/model.safetensors"
        (imported,) = hub.pull(BIG, entry(source, content))
        assert len(site.requests) == 1
        assert heard[0] == f"twin.big: licence CC BY 4.0; from {source}"
        assert imported.record.source == source
        assert torch.equal(load_file(imported.weights.path)["encoder.bias"], state()["encoder.bias"])
        assert not any((store.folder() / hub.DOWNLOADS).iterdir())
        (again,) = hub.pull(BIG, entry(source, content))
        assert again.already
        assert len(site.requests) == 1
        hub.pull(BIG, entry(source, content), again=True)
        assert len(site.requests) == 2


def test_what_is_not_the_pinned_file_is_thrown_away():
    with served(Site(weights_file(1))) as site, pytest.raises(Failed, match="thrown away"):
        hub.pull(BIG, entry(f"{site.address}/model.safetensors", weights_file(0)))
    assert store.record("twin", "big") is None
    assert list((store.folder() / hub.DOWNLOADS).iterdir()) == []


def test_a_pull_without_network_says_how_to_import():
    with pytest.raises(Failed, match=r"cannot be reached.*hilum weights import model\.safetensors") as error:
        hub.pull(BIG, entry("http://127.0.0.1:9/model.safetensors"))
    assert error.value.exit_code == 1


@pytest.mark.parametrize("changes", [{"gated": True}, {"file": "other.safetensors"}], ids=["gated", "page"])
def test_what_cannot_be_pulled_is_said_before_a_socket_is_opened(monkeypatch, changes):
    monkeypatch.setattr(socket, "socket", None)
    one = WeightsEntry(
        **{"tag": "big", "file": "m.pth", "source": "https://example.org/m.pth", "licence": "MIT", **changes}
    )
    with pytest.raises(WeightsUnavailable, match=r"by hand.*https://example\.org/m\.pth.*weights import"):
        hub.pull(BIG, one)


def test_what_ships_is_not_pulled():
    with pytest.raises(BadInput, match="ships with the package"):
        hub.pull(BIG, entry("package"))


def test_places_on_the_hub_are_read():
    found = hub.hub_file(entry("hf:org/twin-b/sub/model.safetensors@v1"))
    assert found == hub.HubFile("org/twin-b", "sub/model.safetensors", "v1")
    assert hub.hub_file(entry("hf:org/twin/m.bin", revision="abc")).revision == "abc"
    assert hub.hub_file(entry("https://example.org/m.bin")) is None


@pytest.fixture
def hugging(monkeypatch):
    """A hub on this machine; the client keeps what it reads from the environment, so that is set in its constants."""
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 2)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", os.devnull)

    def of(site: Site) -> Site:
        site.hub = True
        site.etag = f'"{hashlib.sha256(site.content).hexdigest()}"'
        monkeypatch.setenv("HF_ENDPOINT", site.address)
        return site

    return of


def test_a_file_of_the_hub_is_pulled_at_its_revision(hugging):
    content, heard = weights_file(), []
    with served(Site(content)) as site, progress.heard_by(lambda *said: heard.append(said)):
        hugging(site)
        (imported,) = hub.pull(BIG, entry("hf:org/twin/model.safetensors@v1", content))
    assert {path for _, path, _ in site.requests} == {"/", "/org/twin/resolve/v1/model.safetensors"}
    assert imported.record.source == "hf:org/twin/model.safetensors@v1"
    assert any(said[1:] == (len(content), len(content)) and "fetching" in said[0] for said in heard)


def test_a_gated_file_of_the_hub_says_where_its_conditions_are(hugging):
    with served(Site(b"", troubles=["403"] * 9)) as site:
        hugging(site)
        with pytest.raises(WeightsUnavailable, match=r"conditions at https://huggingface\.co/org/twin.*hf auth login"):
            hub.pull(BIG, entry("hf:org/twin/model.safetensors@v1", gated=True))


def test_an_unreachable_hub_says_how_to_import(monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(Failed, match=r"cannot be reached.*weights import model\.safetensors"):
        hub.pull(BIG, entry("hf:org/twin/model.safetensors@v1"))


def test_a_hub_without_https_is_refused(monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://mirror.example.org")
    with pytest.raises(BadInput, match="https only"):
        hub.pull(BIG, entry("hf:org/twin/model.safetensors@v1"))
