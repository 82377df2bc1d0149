"""The store: what is there is found, what is not says how to get it, and nothing is ever half there."""

import errno
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import save_file
from torch_files import card, state

from hilum.values.card import WeightsEntry
from hilum.values.errors import BadInput, Failed, WeightsUnavailable
from hilum.weights import staging, store, tensor_file
from hilum.weights.store import MODEL, Record


@pytest.fixture(autouse=True)
def _own(tmp_path, monkeypatch):
    monkeypatch.setenv("HILUM_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setattr(store, "POCKET", tmp_path / "pocket")
    (tmp_path / "pocket").mkdir()


def ship(name: str, seed: int = 0) -> Path:
    path = store.POCKET / name
    save_file(state(seed), path)
    return path


def keep(tag: str = "big", seed: int = 0, system: str = "twin") -> Path:
    """Stores a small file as an import would."""
    with staging.stage(0) as stage:
        save_file(state(seed), stage / MODEL)
        digest = tensor_file.sha256(stage / MODEL)
        size = (stage / MODEL).stat().st_size
        kept = Record(system, tag, "f.pth", "00", digest, size, 4, "Apache-2.0", "-", "2024-01-01T00:00:00Z")
        return staging.settle(stage, kept)


def left_over() -> list[str]:
    return [path.name for path in store.folder().glob(".*")]


def test_asking_makes_nothing():
    assert store.available(card()) == ()
    assert not store.folder().exists()


@pytest.mark.parametrize(
    ("platform", "variables", "wanted"),
    [
        ("linux", {"XDG_CACHE_HOME": "/c"}, "/c/hilum/weights"),
        ("linux", {"XDG_CACHE_HOME": "relative"}, "/home/u/.cache/hilum/weights"),
        ("darwin", {}, "/home/u/Library/Caches/hilum/weights"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/hilum/weights"),
        ("linux", {"HILUM_WEIGHTS": "/w", "XDG_CACHE_HOME": "/c"}, "/w"),
        ("linux", {"HILUM_WEIGHTS": "~/w"}, "/home/u/w"),
    ],
)
def test_the_folder_is_the_platforms_cache_unless_the_user_says_otherwise(monkeypatch, platform, variables, wanted):
    monkeypatch.delenv("HILUM_WEIGHTS")
    for name, value in {"HOME": "/home/u", **variables}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    assert store.folder() == Path(wanted)


def test_shipped_weights_are_found_with_their_hash():
    path = ship("twin.safetensors")
    found = store.find(card())
    assert (found.system, found.tag, found.path) == ("twin", "pocket", path)
    assert found.sha256 == tensor_file.sha256(path)


def test_a_shipped_file_may_carry_its_tag():
    ship("twin.small.safetensors")
    ship("twin_study.safetensors")
    assert store.available(card()) == ("small",)


def test_tags_come_in_the_cards_order():
    ship("twin.safetensors")
    keep("big")
    keep("another")
    assert store.available(card()) == ("big", "pocket", "another")
    assert store.find(card()).tag == "big"


def test_an_import_of_a_longer_name_is_another_systems():
    keep(system="twin_study")
    assert store.available(card()) == ()


def test_absent_weights_say_the_command_the_source_and_the_licence():
    with pytest.raises(WeightsUnavailable, match=r"weights pull twin\.big.*weights import twin_big\.pth") as error:
        store.find(card())
    assert "https://example.org/twin_big.pth" in str(error.value)
    assert "Apache-2.0" in str(error.value)
    assert error.value.exit_code == 1


def test_absent_weights_name_a_tag_that_is_here():
    ship("twin.safetensors")
    with pytest.raises(WeightsUnavailable, match=r"twin\.pocket is here"):
        store.find(card(), "big")


def test_gated_weights_say_where_the_conditions_are():
    entry = WeightsEntry("big", "model.safetensors", "hf:org/twin/model.safetensors", "CC BY-NC", gated=True)
    with pytest.raises(WeightsUnavailable, match=r"conditions \(https://huggingface\.co/org/twin; licence: CC BY-NC"):
        store.find(card(weights=(entry,)))


def test_a_page_is_not_offered_as_something_to_pull():
    entry = WeightsEntry("big", "twin_big.pth", "https://example.org/readme", "MIT")
    with pytest.raises(WeightsUnavailable, match="from its publisher") as error:
        store.find(card(weights=(entry,)))
    assert "weights pull" not in str(error.value)


def test_an_unknown_tag_lists_the_known_ones():
    with pytest.raises(WeightsUnavailable, match="its card names: big, pocket"):
        store.find(card(), "huge")


def test_a_method_without_public_weights_says_so():
    with pytest.raises(WeightsUnavailable, match="its paper published none"):
        store.find(card(status="method", weights=()))


@pytest.mark.parametrize("harm", ["cut", "no record", "broken record"])
def test_a_damaged_store_is_told_not_used(harm):
    path = keep()
    match harm:
        case "cut":
            path.write_bytes(path.read_bytes()[:-1])
        case "no record":
            path.with_name("record.json").unlink()
        case "broken record":
            path.with_name("record.json").write_text("{")
    with pytest.raises(Failed, match=r"weights verify twin\.big"):
        store.find(card())


def test_a_record_keeps_what_was_written_and_ignores_what_a_later_version_adds():
    path = keep().with_name("record.json")
    kept = store.record("twin", "big")
    path.write_text(path.read_text().replace("{", '{"new field": 1,', 1))
    assert store.record("twin", "big") == kept
    assert store.records() == (kept,)


def test_a_file_of_the_users_is_used_where_it_lies(tmp_path):
    save_file(state(), tmp_path / "mine.safetensors")
    found = store.from_file(card(), tmp_path / "mine.safetensors", "big")
    assert (found.path, found.tag) == (tmp_path / "mine.safetensors", "big")
    assert found.sha256 == tensor_file.sha256(found.path)


@pytest.mark.parametrize(
    ("name", "tag", "sentence"),
    [("a.pth", "big", "weights import"), ("no.safetensors", "big", "no such file"), ("mine.safetensors", None, "size")],
)
def test_a_file_that_cannot_be_used_says_why(tmp_path, name, tag, sentence):
    save_file(state(), tmp_path / "mine.safetensors")
    with pytest.raises(BadInput, match=sentence):
        store.from_file(card(), tmp_path / name, tag)


def test_many_at_once_store_one_whole_file():
    with ThreadPoolExecutor(8) as pool:
        paths = set(pool.map(lambda _: keep(), range(24)))
    assert paths == {store.place("twin", "big") / MODEL}
    assert store.find(card()).sha256 == tensor_file.sha256(paths.pop())
    assert left_over() == []


def test_another_file_takes_the_place_as_a_whole():
    keep(seed=0)
    path = keep(seed=1)
    assert store.find(card()).sha256 == tensor_file.sha256(path)
    assert left_over() == []


@pytest.mark.parametrize("fault", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("step", ["fsync", "rename"])
def test_a_failing_disk_leaves_nothing(monkeypatch, step, fault):
    def fail(*_, **__):
        raise OSError(fault, os.strerror(fault))

    with monkeypatch.context() as patch:
        patch.setattr(staging.os, step, fail)
        with pytest.raises(Failed, match="Nothing was stored"):
            keep()
    assert store.available(card()) == ()
    assert left_over() == []


def test_a_killed_import_leaves_nothing_that_could_be_taken_for_weights():
    program = (
        "import os, signal; from hilum.weights import staging, store\n"
        "with staging.stage(0) as stage:\n"
        "    (stage / store.MODEL).write_bytes(b'half'); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode < 0
    assert store.available(card()) == ()
    assert store.records() == ()
    keep()
    assert store.available(card()) == ("big",)


def test_a_full_disk_is_noticed_before_work():
    with pytest.raises(Failed, match="GB are needed"), staging.stage(1 << 62):
        pass


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HILUM_WEIGHTS", str(tmp_path / "file" / "weights"))
    with pytest.raises(BadInput, match="HILUM_WEIGHTS moves it"):
        keep()


def test_a_killed_import_is_swept_after_a_day_and_not_before():
    store.folder().mkdir()
    old, young = (store.folder() / f"{staging.STAGE}{name}" for name in ("old", "young"))
    for path in (old, young):
        path.mkdir()
    os.utime(old, (0, 0))
    keep()
    assert left_over() == [young.name]


def test_equal_tensors_make_equal_files_and_the_librarys_own(tmp_path):
    save_file(state(), tmp_path / "theirs")
    tensor_file.copy(tmp_path / "theirs", tmp_path / "ours", {name: name for name in state()})
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


def test_shared_files_share_bytes_where_the_disk_can(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"x")
    staging.share(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").stat().st_ino == (tmp_path / "a").stat().st_ino

    def fail(*_):
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(staging.os, "link", fail)
    staging.share(tmp_path / "a", tmp_path / "c")
    assert (tmp_path / "c").read_bytes() == b"x"


def test_the_store_knows_no_torch():
    program = "import sys, hilum.weights.store; sys.exit(bool({'torch', 'safetensors'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_records_are_text_that_a_person_can_read():
    keep()
    text = (store.place("twin", "big") / "record.json").read_text()
    assert '"date": "2024-01-01T00:00:00Z"' in text
    assert replace(store.record("twin", "big"), tag="x").name == "twin.x"
