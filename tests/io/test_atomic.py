"""A write that fails leaves the old file or none, nothing half-written: faults at every step, and a killed child."""

import errno
import io
import os
import pathlib
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from grids import PROVENANCE, answer_on, leftovers, picture, volume

import phantoms
from hilum.io.atomic import replacing
from hilum.io.read import read
from hilum.io.write import write
from hilum.values.answers import Embedding, Segmentation
from hilum.values.errors import BadInput, Failed

SEGMENTATION = answer_on(volume((8, 40, 40)), 2)
UNSURE = Segmentation(
    SEGMENTATION.masks,
    SEGMENTATION.names,
    SEGMENTATION.scores,
    SEGMENTATION.image,
    PROVENANCE,
    np.random.default_rng(0).random(SEGMENTATION.masks.shape, dtype=np.float32),
)
ANSWERS = {
    "mask.nii": SEGMENTATION,
    "mask.nii.gz": SEGMENTATION,
    "mask.nrrd": SEGMENTATION,
    "mask.seg.nrrd": answer_on(volume((8, 40, 40)), 2, overlapping=True),
    "mask.png": answer_on(picture((60, 70)), 3),
    "answer.json": SEGMENTATION,
    "unsure.npz": UNSURE,
    "vectors.npz": Embedding(np.ones((300, 9), dtype=np.float32), ("image", "dim"), PROVENANCE),
    "vectors.parquet": Embedding(np.ones((300, 9), dtype=np.float32), ("image", "dim"), PROVENANCE),
}
STEPS = ("create", "open", "write", "flush file", "rename", "flush folder")


class FullDisk(io.RawIOBase):
    """A file on a disk that is full after so many bytes."""

    def __init__(self, stream, error, room):
        self.stream, self.error, self.room = stream, error, room

    def writable(self):
        return True

    def seekable(self):
        return True

    def seek(self, offset, whence=0):
        return self.stream.seek(offset, whence)

    def tell(self):
        return self.stream.tell()

    def write(self, content):
        self.room -= len(content)
        if self.room < 0:
            raise OSError(self.error, os.strerror(self.error))
        return self.stream.write(content)

    def close(self):
        self.stream.close()
        super().close()


def broken_at(monkeypatch, step, error, room=0):
    """The system with one step of writing broken; the steps before it work."""

    def fail(*_):
        raise OSError(error, os.strerror(error))

    if step == "create":
        monkeypatch.setattr(os, "open", fail)
    elif step == "rename":
        monkeypatch.setattr(os, "replace", fail)
    elif step in ("flush file", "flush folder"):
        flush, done = os.fsync, []

        def flushed(handle):
            done.append(handle)
            return fail() if len(done) == (1 if step == "flush file" else 2) else flush(handle)

        monkeypatch.setattr(os, "fsync", flushed)
    else:
        opened = io.open

        def broken(path, mode="r", *rest, **options):
            if "w" not in mode:
                return opened(path, mode, *rest, **options)
            if step == "open":
                fail()
            raw = FullDisk(opened(path, "wb", buffering=0), error, room)
            return raw if "b" in mode else io.TextIOWrapper(raw, "utf-8", write_through=True)

        monkeypatch.setattr(pathlib.io, "open", broken)


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO], ids=errno.errorcode.get)
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("name", ANSWERS)
def test_a_fault_leaves_the_old_file_and_nothing_else(name, step, error, tmp_path, monkeypatch):
    target = tmp_path / name
    target.write_bytes(b"old")
    with monkeypatch.context() as patch:
        broken_at(patch, step, error)
        with pytest.raises(Failed, match=r"could not write .*(no space left|input/output error)"):
            write(ANSWERS[name], target, force=True)
    assert leftovers(tmp_path, name) == []
    if step == "flush folder":  # the new file is complete by then
        assert target.read_bytes() != b"old"
        assert write(ANSWERS[name], tmp_path / f"again.{name}").read_bytes() == target.read_bytes()
    else:
        assert target.read_bytes() == b"old"


@pytest.mark.parametrize("step", STEPS[:-1])
@pytest.mark.parametrize("name", ANSWERS)
def test_a_fault_leaves_no_new_file(name, step, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        broken_at(patch, step, errno.ENOSPC)
        with pytest.raises(Failed):
            write(ANSWERS[name], tmp_path / name)
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("name", ANSWERS)
def test_a_real_limit_on_file_size_leaves_nothing_wherever_it_strikes(name, tmp_path):
    """The system itself refuses to write on (EFBIG), at a tenth, the half and the last byte of the file."""
    whole = write(ANSWERS[name], tmp_path / f"whole.{name}").read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for room in (len(whole) // 10, len(whole) // 2, len(whole) - 1):
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
        try:
            with pytest.raises(Failed, match="file too large"):
                write(ANSWERS[name], tmp_path / name)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert leftovers(tmp_path, f"whole.{name}") == []
    assert write(ANSWERS[name], tmp_path / name).read_bytes() == whole


@pytest.fixture(scope="module")
def of_a_series(tmp_path_factory):
    """An answer on a DICOM series, which a SEG refers to."""
    folder = tmp_path_factory.mktemp("series")
    phantoms.ct_series(folder, "axial")
    scan = read(folder)
    mask = phantoms.ellipsoid(scan.affine, scan.grid)
    return Segmentation(mask[None], ("ball",), (1.0,), scan, PROVENANCE)


@pytest.mark.parametrize("step", ["create", "flush file", "rename", "the disk is full"])
def test_a_fault_leaves_no_half_seg(step, of_a_series, tmp_path, monkeypatch):
    target = tmp_path / "seg.dcm"
    target.write_bytes(b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with monkeypatch.context() as patch:
        if step == "the disk is full":
            resource.setrlimit(resource.RLIMIT_FSIZE, (3000, hard))
        else:
            broken_at(patch, step, errno.ENOSPC)
        try:
            with pytest.raises(Failed, match="could not write seg"):
                write(of_a_series, target, force=True)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert target.read_bytes() == b"old"
    assert leftovers(tmp_path, target.name) == []
    assert write(of_a_series, target, force=True).read_bytes()[128:132] == b"DICM"


WRITER = """
import pathlib, sys
import numpy as np
from hilum.io.write import write
from hilum.values.answers import Segmentation
from hilum.values.image import from_array
from hilum.values.provenance import Provenance

image = from_array(np.zeros((1, 8, 40, 40), dtype=np.uint8), spacing=(1.0, 1.0, 1.0))
noise = np.random.default_rng(0).random((2, 1, 8, 40, 40)) > 0.5
answers = [Segmentation(masks, ("one",), (1.0,), image, Provenance("scout", "pocket")) for masks in noise]
for turn in range(10**9):
    write(answers[turn % 2], pathlib.Path(sys.argv[1]), force=True)
    if turn == 2:
        print("writing", flush=True)
"""


@pytest.mark.slow
def test_a_killed_writer_leaves_a_whole_file(tmp_path):
    target, root = tmp_path / "mask.nii.gz", pathlib.Path(__file__).resolve().parents[2]
    noise = np.random.default_rng(0).random((2, 8, 40, 40)) > 0.5
    moments = np.random.default_rng(1).uniform(0.0, 0.1, 3)
    for moment in moments:
        with subprocess.Popen([sys.executable, "-c", WRITER, target], stdout=subprocess.PIPE, cwd=root) as child:
            assert child.stdout.readline() == b"writing\n"
            time.sleep(moment)
            child.send_signal(signal.SIGKILL)
        found = read(target).array[0].astype(bool)
        assert any(np.array_equal(found, mask) for mask in noise)
        assert [name for name in leftovers(tmp_path, target.name) if name.endswith((".gz", ".nii"))] == []


def test_any_error_in_the_block_leaves_nothing(tmp_path):
    def stopped(error):
        with replacing(tmp_path / "mask.nii") as temporary:
            temporary.write_bytes(b"half")
            raise error("stop")

    for error in (ValueError, KeyboardInterrupt, BadInput):
        with pytest.raises(error):
            stopped(error)
        assert leftovers(tmp_path) == []


def test_an_existing_file_is_only_replaced_by_force(tmp_path):
    target = tmp_path / "answer.json"
    target.write_text("old")
    with pytest.raises(BadInput, match="exists and is left as it is; give another name, or --force"):
        write(SEGMENTATION, target)
    assert target.read_text() == "old"
    assert write(SEGMENTATION, target, force=True) == target
    assert target.read_text().startswith("{")


def test_a_file_that_came_meanwhile_is_not_replaced(tmp_path):
    target = tmp_path / "mask.nii"

    def overtaken():
        with replacing(target) as temporary:
            temporary.write_bytes(b"new")
            target.write_bytes(b"another's")

    with pytest.raises(BadInput, match="exists"):
        overtaken()
    assert target.read_bytes() == b"another's"
    assert leftovers(tmp_path, target.name) == []


def test_targets_that_cannot_be_files_are_refused(tmp_path):
    with pytest.raises(BadInput, match=r"there is no folder .*Create it first"):
        write(SEGMENTATION, tmp_path / "none" / "mask.nii")
    (tmp_path / "folder.nii").mkdir()
    with pytest.raises(BadInput, match="it is a folder"):
        write(SEGMENTATION, tmp_path / "folder.nii", force=True)
    os.mkfifo(tmp_path / "pipe.nii")
    with pytest.raises(BadInput, match="a device or pipe"):
        write(SEGMENTATION, tmp_path / "pipe.nii", force=True)
    assert leftovers(tmp_path, "folder.nii", "pipe.nii") == []


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "mask.nii").write_bytes(b"old")
    (tmp_path / "mask.nii").symlink_to(tmp_path / "real" / "mask.nii")
    write(SEGMENTATION, tmp_path / "mask.nii", force=True)
    assert (tmp_path / "mask.nii").is_symlink()
    assert read(tmp_path / "real" / "mask.nii").grid == SEGMENTATION.image.grid


def test_rights_are_those_of_any_new_file(tmp_path):
    (tmp_path / "plain").touch()
    assert write(SEGMENTATION, tmp_path / "mask.nii").stat().st_mode == (tmp_path / "plain").stat().st_mode
