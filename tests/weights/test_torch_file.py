"""Files of torch.save are read without running anything, and give exactly the tensors that torch gives."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch_files import Remembers, Runs, archive, bombs, hostile, pickled_table, row, saved, state

from hilum.values.errors import BadInput
from hilum.weights import limited, tensor_file, torch_file, unpickle
from hilum.weights.inert import Rebuilt
from hilum.weights.state import NoTensors, unwrapped

READ_ALL = """
import pathlib, sys
from hilum.weights import torch_file, unpickle
from hilum.weights.inert import Rebuilt
from hilum.weights.state import unwrapped
unpickle.limit(1 << 20)
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.pth")):
    try:
        inside = torch_file.read(path)
        tensors = unwrapped(inside.content, lambda value: type(value) is Rebuilt).tensors
        sizes = [len(leaf.read()) for leaf in map(inside.leaf, tensors.values()) if leaf.size < 1 << 20]
        print(path.stem.replace(" ", "_"), "read")
    except (Exception, MemoryError) as error:
        print(path.stem.replace(" ", "_"), type(error).__name__)
"""
CASES = sorted(hostile(Path("canary")))


def odd_tensors() -> dict[str, torch.Tensor]:
    """Every plain type, and views: transposed, strided, shared, empty, scalar, a parameter."""
    kinds = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16)
    found = {str(kind).split(".")[1]: torch.arange(6).reshape(2, 3).to(kind) for kind in kinds}
    found |= {"byte": torch.tensor([0, 255], dtype=torch.uint8), "char": torch.tensor([-1, 3], dtype=torch.int8)}
    found |= {"bool": torch.tensor([True, False]), "scalar": torch.tensor(2.5), "empty": torch.zeros(0, 4)}
    whole = torch.arange(40.0)
    found |= {"shared": whole, "every third": whole[2:20:3], "turned": whole[:12].reshape(3, 4).T}
    found = {name.replace(" ", "_"): tensor for name, tensor in found.items()}
    return {**found, "wide": torch.ones(1, 3).expand(4, 3), "parameter": torch.nn.Parameter(torch.ones(2, 2))}


def leaves_of(path: Path) -> dict[str, tensor_file.Leaf]:
    inside = torch_file.read(path)
    found = unwrapped(inside.content, lambda value: type(value) is Rebuilt)
    return {name: inside.leaf(tensor) for name, tensor in found.tensors.items()}


@pytest.mark.parametrize("older", [False, True], ids=["zip", "row"])
@pytest.mark.parametrize("wrapped", [False, True], ids=["bare", "beside an optimizer"])
def test_our_reader_gives_what_torch_gives(tmp_path, older, wrapped):
    wanted = odd_tensors()
    content = {"model": wanted, "optimizer": Remembers(), "epoch": 3} if wrapped else wanted
    source, target = saved(content, tmp_path / "a.pth", older=older), tmp_path / "a.safetensors"
    tensor_file.write(target, leaves_of(source))
    given = load_file(target)
    assert given.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert given[name].dtype == tensor.dtype, name
        assert torch.equal(given[name], tensor.detach()), name


def test_both_readers_write_the_same_file(tmp_path):
    source = saved(state(), tmp_path / "a.pth")
    torchs = unpickle.read(source, archive=True)
    assert torchs.reader == "torch weights_only"
    tensor_file.write(tmp_path / "one", {name: torchs.leaf(tensor) for name, tensor in torchs.state.tensors.items()})
    tensor_file.write(tmp_path / "other", leaves_of(source))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


@pytest.mark.parametrize("kind", ["zip", "row", "bare"])
@pytest.mark.parametrize("case", CASES)
def test_nothing_in_a_pickle_runs(tmp_path, case, kind):
    canary, path = tmp_path / "canary", tmp_path / "evil.pth"
    pickled = hostile(canary)[case]
    if kind == "zip":
        archive(path, pickled)
    else:
        path.write_bytes(row(pickled) if kind == "row" else pickled)
    with pytest.raises(Exception):  # noqa: B017, PT011 - whatever the reader says, it says it before anything ran
        unpickle.read(path, archive=kind == "zip")
    with pytest.raises(Exception):  # noqa: B017, PT011
        leaves_of(path)
    assert not canary.exists()


def test_the_canary_would_be_touched_by_an_ordinary_reader(tmp_path):
    """The negative control: these very bytes run in pickle.loads."""
    canary = tmp_path / "canary"
    pickled = hostile(canary)["os.system, protocol 2"]
    subprocess.run([sys.executable, "-c", f"import pickle; pickle.loads({pickled!r})"], check=True)
    assert canary.exists()


def test_tensors_beside_an_attack_are_read_and_the_attack_is_named(tmp_path):
    canary = tmp_path / "canary"
    content = {"model": state(), "optimizer": [Remembers()], "hook": Runs(os.system, f"touch {canary}")}
    report = limited.unpickle(saved(content, tmp_path / "a.pth"), tmp_path / "a.safetensors")
    assert report.reader == "inert stubs"
    assert report.wrappers == ("model",)
    assert any("system" in name for name in report.refused)
    assert set(report.left_out) == {"optimizer", "hook"}
    assert not canary.exists()
    given = load_file(tmp_path / "a.safetensors")
    assert all(torch.equal(given[name], tensor) for name, tensor in state().items())


def test_bombs_end_within_their_limits(tmp_path):
    """All in one limited process without torch: each must end in an error, in seconds, with the memory it is given."""
    for name, pickled in bombs().items():
        archive(tmp_path / f"{name}.pth", pickled)
    done = subprocess.run(
        [sys.executable, "-c", READ_ALL, str(tmp_path)], capture_output=True, text=True, timeout=60, check=True
    )
    assert len(done.stdout.splitlines()) == len(bombs()), done


def test_files_with_flipped_bytes_are_read_or_refused_and_never_crash(tmp_path):
    """Hundreds of them, all in one limited process: bytes changed in the pickle, the archive's tables, the lengths."""
    rng = random.Random(5)
    wholes = [saved({"model": state(), "optimizer": Remembers()}, tmp_path / "a", older=old) for old in (False, True)]
    contents = [path.read_bytes() for path in wholes]
    for number in range(400):
        content = bytearray(contents[number % 2])
        for _ in range(rng.choice((1, 1, 2, 8))):
            content[rng.randrange(len(content))] = rng.randrange(256)
        (tmp_path / f"{number:03}.pth").write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-c", READ_ALL, str(tmp_path)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-500:]
    ends = [line.split()[1] for line in done.stdout.splitlines()]
    assert len(ends) == 400
    assert 0 < ends.count("read") < 400


@pytest.mark.parametrize("case", ["memo far away", "laughs"])
def test_a_bomb_is_one_sentence(tmp_path, case):
    with pytest.raises(BadInput, match="cannot be read as weights"):
        limited.unpickle(archive(tmp_path / "bomb.pth", bombs()[case]), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("size", "stride", "offset"),
    [((5,), (1,), 0), ((2, 2), (3, 1), 0), ((1,), (1,), 4), ((2,), (-1,), 1), ((1 << 40,), (1,), 0), ((2,), (1, 1), 0)],
)
def test_a_tensor_that_lies_about_its_place_is_refused(tmp_path, size, stride, offset):
    path = archive(tmp_path / "a.pth", pickled_table(size, stride, offset), {"archive/data/0": b"\0" * 16})
    with pytest.raises(Exception, match=r"reaches outside|impossible"):
        leaves_of(path)


def test_a_storage_shorter_than_claimed_is_refused(tmp_path):
    path = archive(tmp_path / "a.pth", pickled_table((4,), (1,)), {"archive/data/0": b"\0" * 15})
    with pytest.raises(ValueError, match="shorter"):
        leaves_of(path)


def test_one_number_cannot_unfold_to_a_disk_full(tmp_path):
    path = archive(tmp_path / "a.pth", pickled_table((1 << 30, 64), (0, 0)), {"archive/data/0": b"\0" * 16})
    with pytest.raises(BadInput, match="would unfold"):
        limited.unpickle(path, tmp_path / "out")


@pytest.mark.parametrize("name", ["../../escaped", "/tmp/escaped", "archive/../../escaped"])
def test_members_with_paths_are_never_written(tmp_path, name):
    inner = tmp_path / "inner"
    inner.mkdir()
    path = archive(inner / "a.pth", pickled_table((4,), (1,)), {"archive/data/0": b"\0" * 16, name: b"escaped"})
    leaves_of(path)
    assert sorted(each.name for each in tmp_path.rglob("*")) == ["a.pth", "inner"]
    assert not Path("/tmp/escaped").exists()


def test_compressed_doubled_and_scripted_archives_are_refused(tmp_path):
    packed = archive(tmp_path / "packed.pth", pickled_table((4,), (1,)), {"archive/data/0": b"\0" * 16}, packed=True)
    script = archive(tmp_path / "script.pt", b"N.", {"archive/constants.pkl": b"N."})
    with pytest.warns(UserWarning, match="Duplicate name"):
        double = archive(tmp_path / "double.pth", b"N.", {"archive/data/0": b"", "archive/data.pkl": b"N."})
    for path, reason in ((packed, "compressed|packed"), (script, "TorchScript"), (double, "names")):
        with pytest.raises(ValueError, match=reason):
            torch_file.members(path)


@pytest.mark.parametrize("cut", [0.02, 0.3, 0.6, 0.9, 0.999])
@pytest.mark.parametrize("older", [False, True], ids=["zip", "row"])
def test_a_truncated_file_is_an_error(tmp_path, older, cut):
    whole = saved(state(), tmp_path / "a.pth", older=older).read_bytes()
    (tmp_path / "b.pth").write_bytes(whole[: int(len(whole) * cut)])
    with pytest.raises(Exception):  # noqa: B017, PT011 - the sentence is made by the limited process
        leaves_of(tmp_path / "b.pth")


def test_the_process_may_not_open_sockets_or_start_programs(tmp_path):
    code = (
        "import sys, pathlib; from hilum.weights import unpickle; unpickle.wall(pathlib.Path(sys.argv[1]) / 'out')\n"
        "import os, socket, subprocess\n"
        "tries = [lambda: os.system('true'), lambda: subprocess.run(['true']), lambda: socket.socket(),\n"
        "  lambda: open(sys.argv[1] + '/other', 'w'), lambda: os.remove(sys.argv[0]), lambda: os.fork()]\n"
        "for each in tries:\n"
        "    try: each(); print('done')\n"
        "    except unpickle.Forbidden: print('refused')\n"
        "open(sys.argv[1] + '/out', 'w').close()\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["refused"] * 6
    assert [each.name for each in tmp_path.iterdir()] == ["out"]


def test_wrappers_are_found_and_named():
    tensors = {"a": 1.0, "b": 2.0}
    found = unwrapped({"state_dict": {"model": tensors, "note": "x"}, "epoch": 3}, lambda value: type(value) is float)
    assert found.tensors == tensors
    assert found.wrappers == ("state_dict", "model")
    assert set(found.left_out) == {"note", "epoch"}


def test_a_network_with_a_part_called_model_is_not_taken_for_a_wrapper():
    tensors = {"a": 1.0, "b": 2.0, "model": {"c": 1.0}}
    found = unwrapped(tensors, lambda value: type(value) is float)
    assert set(found.tensors) == {"a", "b"}
    assert found.wrappers == ()


def test_a_file_without_tensors_says_what_it_holds():
    with pytest.raises(NoTensors, match="entries are: epoch"):
        unwrapped({"epoch": 3, "\x1b[31m": 1}, lambda value: type(value) is float)
