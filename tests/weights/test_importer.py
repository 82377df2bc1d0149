"""Importing: a file is recognised, checked, kept under upstream names; or refused in a sentence, with nothing kept."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch_files import SHAPES, Remembers, candidate, card, saved, state

from hilum.values.errors import BadInput, Failed, TooLarge
from hilum.weights import limited, store, tensor_file, unpickle
from hilum.weights.importer import Wish, import_file
from hilum.weights.recognise import DIGITS, by_name, digits, fit


@pytest.fixture(autouse=True)
def _own(tmp_path, monkeypatch):
    monkeypatch.setenv("HILUM_WEIGHTS", str(tmp_path / "weights"))


@pytest.fixture
def quick(monkeypatch):
    """The same reading in this process, for tests that are not about the process; it costs seconds to start."""

    def read(source: Path, target: Path) -> limited.Report:
        found = unpickle.read(source, archive=True)
        tensor_file.write(target, {name: found.leaf(tensor) for name, tensor in found.state.tensors.items()})
        mine = found.state
        return limited.Report(mine.wrappers, mine.left_out, found.refused, found.reader, len(mine.tensors), 0)

    monkeypatch.setattr(limited, "unpickle", read)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def kept(name: str = "twin.big") -> dict[str, torch.Tensor]:
    return load_file(store.place(*name.split(".")) / store.MODEL)


def nothing_kept() -> bool:
    return not store.folder().exists() or list(store.folder().iterdir()) == []


def test_a_checkpoint_is_unwrapped_converted_and_recorded_in_a_process_of_its_own(tmp_path):
    wanted = {f"module.{name}": tensor.half() for name, tensor in state().items()}
    path = saved({"model": wanted, "optimizer": Remembers(), "epoch": 7}, tmp_path / "twin_big.pth")
    (imported,) = import_file(path, [candidate()])
    given = kept()
    assert {name: tensor.dtype for name, tensor in given.items()} == dict.fromkeys(SHAPES, torch.float16)
    assert all(torch.equal(given[name], tensor.half()) for name, tensor in state().items())
    record = json.loads((imported.weights.path.parent / "record.json").read_text())
    assert record["file"] == "twin_big.pth"
    assert record["file_sha256"] == digest(path)
    assert record["sha256"] == digest(imported.weights.path) == imported.weights.sha256
    assert record["tensors"] == len(SHAPES)
    assert record["wrappers"] == ["model"]
    assert record["prefix"] == "module."
    assert record["left_out"] == ["optimizer", "epoch"]
    assert any("Remembers" in name for name in record["refused"])
    assert store.find(card()) == imported.weights
    said = " ".join(imported.sentences())
    assert "twin_big.pth is twin.big: 4 tensors" in said
    assert "model, module" in said


def test_a_safetensors_file_is_taken_without_any_pickle(tmp_path, monkeypatch):
    monkeypatch.setattr(limited, "unpickle", None)
    save_file(state(), tmp_path / "model.safetensors")
    import_file(tmp_path / "model.safetensors", [candidate(file="model.safetensors")])
    assert all(torch.equal(kept()[name], tensor) for name, tensor in state().items())
    assert (tmp_path / "model.safetensors").is_file()


def test_buffers_that_a_network_computes_are_ignored_by_name(tmp_path, quick):
    extra = {
        "embeddings.position_ids": torch.arange(4),
        "h.0.attn.bias": torch.ones(2),
        "bn.num_batches_tracked": torch.tensor(3),
    }
    path = saved({**state(), **extra}, tmp_path / "twin_big.pth")
    (imported,) = import_file(path, [candidate()])
    assert set(imported.record.ignored) == set(extra)
    assert set(kept()) == set(SHAPES)
    assert "ignored (3)" in " ".join(imported.sentences())


def test_a_buffer_that_the_network_has_is_not_ignored(tmp_path, quick):
    shapes = {**SHAPES, "bn.num_batches_tracked": ()}
    path = saved(state(shapes=shapes), tmp_path / "twin_big.pth")
    import_file(path, [candidate(shapes=shapes)])
    assert set(kept()) == set(shapes)


def test_tensors_that_do_not_agree_are_counted_and_five_of_each_are_named(tmp_path, quick):
    tensors = {f"other.{number}": torch.ones(1) for number in range(9)} | {"encoder.weight": torch.ones(3, 4)}
    path = saved(tensors, tmp_path / "twin_big.pth")
    with pytest.raises(BadInput) as error:
        import_file(path, [candidate()])
    said = str(error.value)
    assert "3 missing: decoder.weight, encoder.bias, steps" in said
    assert "9 unexpected: other.0, other.1, other.2, other.3, other.4, …" in said
    assert "1 of another shape: encoder.weight [3, 4], wanted [6, 4]" in said
    assert nothing_kept()


def test_a_file_of_no_system_names_the_nearest(tmp_path, quick):
    near = {**SHAPES, "head": (2,)}
    path = saved(state(), tmp_path / "unknown.pth")
    far = candidate("far.big", shapes={"x": (1,)})
    with pytest.raises(BadInput, match=r"nearest is that of twin\.big.*1 missing: head"):
        import_file(path, [far, candidate(shapes=near)])
    assert nothing_kept()


def test_a_renamed_file_is_recognised_by_its_layout(tmp_path, quick):
    path = saved(state(), tmp_path / "downloaded (3).pth")
    (imported,) = import_file(path, [candidate(), candidate("far.big", shapes={"x": (1,)})])
    assert imported.record.name == "twin.big"


def test_one_layout_of_two_systems_is_decided_by_the_files_name(tmp_path, quick):
    both = [candidate("twin.big"), candidate("other.big")]
    (imported,) = import_file(saved(state(), tmp_path / "other_big.pth"), both)
    assert imported.record.name == "other.big"


def test_one_layout_of_two_systems_under_an_unknown_name_asks(tmp_path, quick):
    both = [candidate("twin.big"), candidate("other.big")]
    path = saved(state(), tmp_path / "x.pth")
    with pytest.raises(BadInput, match=r"twin\.big and of other\.big.*add --as twin\.big"):
        import_file(path, both)
    (imported,) = import_file(path, both, Wish("other.big"))
    assert imported.record.name == "other.big"


def test_a_pinned_hash_decides_whatever_the_files_name(tmp_path, quick):
    path = saved(state(), tmp_path / "x.pth")
    both = [candidate("twin.big"), candidate("other.big", sha256=digest(path)[:12])]
    (imported,) = import_file(path, both)
    assert imported.record.name == "other.big"
    assert imported.record.notes == ()


def test_a_name_that_is_no_candidate_is_refused(tmp_path, quick):
    path = saved(state(), tmp_path / "x.pth")
    with pytest.raises(BadInput, match=r"--as nobody.*twin\.big"):
        import_file(path, [candidate()], Wish("nobody"))


def test_a_file_published_for_two_systems_is_stored_once_for_both(tmp_path, quick):
    both = [candidate("twin.big", file="shared.pth"), candidate("other.big", file="shared.pth")]
    first, second = import_file(saved(state(), tmp_path / "shared.pth"), both)
    assert {first.record.name, second.record.name} == {"twin.big", "other.big"}
    assert first.weights.path.stat().st_ino == second.weights.path.stat().st_ino
    assert first.record.notes == ()


def test_files_of_one_name_and_layout_from_two_places_are_not_guessed(tmp_path, quick):
    both = [candidate(name, file="m.bin", source=f"hf:{name}/m.bin") for name in ("twin.big", "other.big")]
    path = saved(state(), tmp_path / "m.bin")
    with pytest.raises(BadInput, match=r"twin\.big and of other\.big.*add --as twin\.big"):
        import_file(path, both)
    assert nothing_kept()
    (imported,) = import_file(path, both, Wish("other.big"))
    assert imported.record.name == "other.big"


def test_a_name_with_wrong_digits_of_its_hash_is_refused_with_both(tmp_path, quick):
    path = saved(state(), tmp_path / "twin_big_000000.pth")
    one = candidate(file="twin_big_01ec64.pth", sha256="01ec64")
    with pytest.raises(BadInput, match=f"begins with 000000, and has {digest(path)[:16]}"):
        import_file(path, [one])
    assert nothing_kept()


def test_the_published_name_with_another_hash_is_refused_unless_accepted(tmp_path, quick):
    path = saved(state(), tmp_path / "twin_big_01ec64.pth")
    one = candidate(file="twin_big_01ec64.pth", sha256="01ec64")
    with pytest.raises(BadInput, match="--accept-hash"):
        import_file(path, [one])
    (imported,) = import_file(path, [one], Wish(accept_hash=True))
    assert imported.record.notes == ("Its sha256 does not begin with 01ec64, and was accepted by the user.",)


def test_a_file_that_carries_its_own_digits_is_taken_and_said_not_to_be_the_published_one(tmp_path, quick):
    path = saved(state(), tmp_path / "x.pth")
    own = path.rename(tmp_path / f"twin_big_{digest(path)[:6]}.pth")
    (imported,) = import_file(own, [candidate(file="twin_big_01ec64.pth", sha256="01ec64")])
    assert imported.record.notes == ("It is not the published file: that one's sha256 begins with 01ec64.",)


def test_digits_are_a_hash_only_where_the_published_name_has_one(tmp_path, quick):
    path = saved(state(), tmp_path / "twin_20230401.pth")
    assert digits(path.name) == "20230401"
    (imported,) = import_file(path, [candidate(file="twin.pth")])
    assert imported.record.notes == ()


def test_names_are_compared_without_their_digits():
    pool = [candidate(file="sam_vit_b_01ec64.pth"), candidate("big.l", file="sam_vit_l_0b3195.pth")]
    assert by_name(pool, "SAM_VIT_L_0B3195.PTH") == [pool[1]]
    assert by_name(pool, "sam_vit_b_abcdef.pth") == [pool[0]]
    assert by_name(pool, "sam_vit_h_4b8939.pth") == []
    assert DIGITS.search("resnet50-0676ba61.pth")["digits"] == "0676ba61"


def test_a_prefix_is_taken_off_only_where_all_names_have_it_and_the_layout_has_not():
    assert fit(candidate(), {f"model.module.{name}": shape for name, shape in SHAPES.items()}).prefix == "model.module."
    some = {f"module.{name}": shape for name, shape in SHAPES.items()} | {"steps": ()}
    assert fit(candidate(), some).prefix == ""
    own = {f"model.{name}": shape for name, shape in SHAPES.items()}
    assert fit(candidate(shapes=own), own).wrong == 0


def test_the_same_file_again_does_nothing(tmp_path, quick, monkeypatch):
    path = saved(state(), tmp_path / "twin_big.pth")
    (first,) = import_file(path, [candidate()])
    monkeypatch.setattr(limited, "unpickle", None)
    (again,) = import_file(path, [candidate()])
    assert again.already
    assert again.weights == first.weights
    assert "already here" in again.sentences()[0]


def test_another_file_under_the_same_tag_needs_a_word(tmp_path, quick):
    import_file(saved(state(0), tmp_path / "twin_big.pth"), [candidate()])
    other = saved(state(1), tmp_path / "x.pth")
    with pytest.raises(BadInput, match="--replace"):
        import_file(other, [candidate()])
    assert torch.equal(kept()["encoder.weight"], state(0)["encoder.weight"])
    import_file(other, [candidate()], Wish(replace=True))
    assert torch.equal(kept()["encoder.weight"], state(1)["encoder.weight"])


def test_a_file_that_is_another_systems_byte_for_byte_is_told(tmp_path, quick):
    both = [candidate("twin.big"), candidate("other.big")]
    import_file(saved(state(), tmp_path / "twin_big.pth"), both)
    (imported,) = import_file(saved({"model": state()}, tmp_path / "other_big.pth"), both)
    assert imported.record.notes == ("Its tensors are byte for byte those of twin.big (twin_big.pth).",)


def test_many_at_once_import_one_whole_file(tmp_path, quick):
    path = saved(state(), tmp_path / "twin_big.pth")
    with ThreadPoolExecutor(6) as pool:
        hashes = {each[0].weights.sha256 for each in pool.map(lambda _: import_file(path, [candidate()]), range(12))}
    assert hashes == {digest(store.place("twin", "big") / store.MODEL)}
    assert [each.name for each in store.folder().iterdir()] == ["twin.big"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "0 bytes"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS pointer"),
        (b"\x1f\x8b\x08", "compressed"),
    ],
)
def test_what_is_often_saved_instead_of_weights_is_named(tmp_path, content, sentence):
    path = tmp_path / "twin_big.pth"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=sentence):
        import_file(path, [candidate()])
    assert nothing_kept()


@pytest.mark.parametrize("content", [b"garbage" * 99, b"PK\x03\x04" + bytes(64), b"\x80\x02}q\x00."])
def test_garbage_is_one_sentence_from_the_limited_process(tmp_path, content):
    path = tmp_path / "twin_big.pth"
    path.write_bytes(content)
    with pytest.raises(BadInput, match="cannot be read as weights"):
        import_file(path, [candidate()])
    assert nothing_kept()


@pytest.mark.parametrize(
    "header",
    [
        b"\xff" * 8,
        (2).to_bytes(8, "little") + b"{}" + b"tail",
        (60).to_bytes(8, "little") + b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,99]}}'.ljust(60),
        (70).to_bytes(8, "little")
        + b'{"a":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,16]}}'.ljust(70),
    ],
)
def test_a_lying_safetensors_header_is_refused(tmp_path, header):
    path = tmp_path / "twin_big.safetensors"
    path.write_bytes(header)
    with pytest.raises(BadInput, match="not a sound safetensors file"):
        import_file(path, [candidate()])
    assert nothing_kept()


def test_a_file_over_the_cap_is_refused_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setenv("HILUM_MAX_WEIGHTS_BYTES", "10")
    with pytest.raises((BadInput, TooLarge), match="HILUM_MAX_WEIGHTS_BYTES"):
        import_file(saved(state(), tmp_path / "twin_big.pth"), [candidate()])


def test_a_process_that_dies_or_hangs_is_one_sentence(tmp_path, monkeypatch):
    path = saved(state(), tmp_path / "twin_big.pth")
    monkeypatch.setattr(limited, "START", "import os; os.kill(os.getpid(), 11)")
    with pytest.raises(Exception, match="was ended by signal 11"):
        import_file(path, [candidate()])
    monkeypatch.setattr(limited, "START", "import time; time.sleep(60)")
    monkeypatch.setattr(limited, "SECONDS", 0.5)
    with pytest.raises(BadInput, match="was not read within"):
        import_file(path, [candidate()])
    assert nothing_kept()


def test_a_disk_that_fails_under_the_process_is_not_called_the_files_fault(tmp_path, monkeypatch):
    report = "import json; print(json.dumps({'disk': 'no space left on device'})); raise SystemExit(3)"
    monkeypatch.setattr(limited, "START", report)
    with pytest.raises(Failed, match="could not be written: no space left"):
        import_file(saved(state(), tmp_path / "twin_big.pth"), [candidate()])
    assert nothing_kept()


def test_the_process_gets_no_environment_but_what_python_needs(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "secret")
    report = "import os, json; print(json.dumps({'error': ' '.join(sorted(os.environ))}))"
    monkeypatch.setattr(limited, "START", report)
    with pytest.raises(BadInput) as error:
        limited.unpickle(saved(state(), tmp_path / "a.pth"), tmp_path / "out")
    assert "HF_TOKEN" not in str(error.value)
    assert "HOME" not in str(error.value)
