"""Small cards, layouts and torch files for the tests of weights; the hostile pickles touch a canary when they run."""

import io
import pickle
import struct
import zipfile
from pathlib import Path

import torch

from hilum.values.card import Card, WeightsEntry
from hilum.weights.recognise import Candidate

SHAPES = {"encoder.weight": (6, 4), "encoder.bias": (6,), "decoder.weight": (4, 6), "steps": ()}


def card(name: str = "twin", **changes) -> Card:
    """A card with one file to pull and one that ships."""
    entries = (
        WeightsEntry("big", f"{name}_big.pth", f"https://example.org/{name}_big.pth", "Apache-2.0"),
        WeightsEntry("pocket", f"{name}.safetensors", "package", "CC0-1.0"),
    )
    fields = {
        "title": name.title(),
        "citation": "-",
        "year": 2023,
        "family": "house",
        "algorithm": "-",
        "summary": "-",
        "status": "open",
        "tasks": (),
        "modalities": ("any",),
        "organs": ("any",),
        "capabilities": ("segment",),
        "accepts": ("box",),
        "returns": ("segmentation",),
        "weights": entries,
    }
    return Card(name=name, **{**fields, **changes})


def candidate(name: str = "twin.big", *, shapes=None, **changes) -> Candidate:
    system, _, tag = name.partition(".")
    fields = {"file": f"{system}_{tag}.pth", "licence": "Apache-2.0", "source": "https://example.org/", **changes}
    return Candidate(system, tag, layout=lambda: dict(shapes or SHAPES), **fields)


def state(seed: int = 0, shapes=None) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator) for name, shape in (shapes or SHAPES).items()}


class Runs:
    """An object whose pickle calls a function of the attacker's choice."""

    def __init__(self, function, *given):
        self.call = (function, given)

    def __reduce__(self):
        return self.call


class Remembers:
    """A harmless object of a class that the reading process does not know; state and items come with it."""

    def __init__(self):
        self.lr, self.history = 0.1, [1, 2]


def archive(path: Path, pickled: bytes, members: dict[str, bytes] | None = None, *, packed: bool = False) -> Path:
    """A torch archive around any pickle."""
    how = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", how) as file:
        file.writestr("archive/data.pkl", pickled)
        file.writestr("archive/byteorder", b"little")
        for name, content in (members or {}).items():
            file.writestr(name, content)
        file.writestr("archive/version", b"3\n")
    return path


def row(pickled: bytes) -> bytes:
    """The older kind of torch file around any pickle, without storages."""
    info = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    head = b"".join(pickle.dumps(each, 2) for each in (0x1950A86A20F9469CFC6C, 1001, info))
    return head + pickled + pickle.dumps([], 2)


def hostile(canary: Path) -> dict[str, bytes]:
    """Pickles that would touch the canary if anything in them ran, by name."""
    import builtins
    import os
    import subprocess

    command, code = f"touch {canary}", f"open({str(canary)!r}, 'w').close()"
    calls = {
        "os.system": Runs(os.system, command),
        "eval": Runs(eval, code),
        "exec": Runs(exec, code),
        "open": Runs(builtins.open, str(canary), "w"),
        "popen": Runs(subprocess.Popen, ["touch", str(canary)]),
        "nested": Runs(pickle.loads, pickle.dumps(Runs(os.system, command))),
        "getattr": Runs(getattr, Runs(__import__, "os"), "system"),
    }
    found = {f"{name}, protocol {p}": pickle.dumps(call, p) for name, call in calls.items() for p in (0, 2, 4)}
    found |= {f"{name} beside a tensor table": with_table(call) for name, call in calls.items()}
    text = command.encode()
    found["global by hand"] = b"cos\nsystem\n(V" + text + b"\ntR."
    found["inst opcode"] = b"(V" + text + b"\nios\nsystem\n."
    found["obj opcode"] = b"(cos\nsystem\nV" + text + b"\no."
    found["dotted name"] = b"\x80\x04\x8c\x0ctorch._utils\x8c\x1e_rebuild_tensor_v2.__globals__\x93."
    found["dotted call"] = b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c" + bytes([len(text)]) + text + b"\x85R."
    found["build on a function"] = b"ctorch._utils\n_rebuild_tensor_v2\n(dV__code__\nV1\nsb."
    found["set on a function"] = b"ctorch._utils\n_rebuild_tensor_v2\n(N(dV__defaults__\n(lstb."
    found["build on a class"] = b"ccollections\nOrderedDict\n(N(dV__init__\ncos\nsystem\nstb."
    found["extension"] = b"\x80\x02\x82\x01."
    return found


def with_table(call: Runs) -> bytes:
    """A pickle that looks like a checkpoint, its optimizer the attacker's call."""
    return pickle.dumps({"model": {}, "optimizer": call}, 2)


def bombs() -> dict[str, bytes]:
    """Pickles that ask for memory or time out of proportion."""
    laughs = b"(lp0\n" + b"".join(b"0(" + b"g0\n" * 9 + b"lp0\n" for _ in range(64)) + b"."
    return {
        "memo far away": b"\x80\x02]r\xff\xff\xff\x7f.",
        "long string": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b"x.",
        "long integer": b"\x80\x02\x8b\xff\xff\xff\x7f\x01.",
        "frame": b"\x80\x04\x95" + struct.pack("<Q", 1 << 60) + b"N.",
        "laughs": laughs,
        "deep": b"\x80\x02" + b"(" * 200_000 + b"N.",
        "nested lists": b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b".",
    }


def saved(content: object, path: Path, *, older: bool = False) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=not older)
    return path


def pickled_table(size: tuple[int, ...], stride: tuple[int, ...], offset: int = 0, numbers: int = 4) -> bytes:
    """A pickle of {"w": tensor} whose description may lie; its storage "0" claims `numbers` floats."""
    import torch._utils

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            return ("storage", torch.FloatStorage, "0", "cpu", numbers) if value == "the storage" else None

    class Lies:
        def __reduce__(self):
            return torch._utils._rebuild_tensor_v2, ("the storage", offset, size, stride, False, {})

    stream = io.BytesIO()
    Pickler(stream, 2).dump({"w": Lies()})
    return stream.getvalue()
