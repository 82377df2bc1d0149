"""`hilum adapt` and `hilum data check`: from five labelled cases to an adapter that answers, through a kill."""

import json
import os
import signal
import subprocess
import sys
import time

import nibabel
import numpy as np
import pytest
from PIL import Image as Pillow
from train.cases import blob

from hilum.weights import adapter

QUICK = ("--steps", 2, "--batch", 1, "--method", "head")


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "cases"
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True)
    for seed in range(5):
        grey, mask = blob(seed)
        Pillow.fromarray(grey).save(folder / "images" / f"p{seed}.png")
        Pillow.fromarray(mask.astype(np.uint8)).save(folder / "labels" / f"p{seed}.png")
    return folder


@pytest.fixture
def volumes(tmp_path):
    folder = tmp_path / "volumes"
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True)
    for seed in range(3):
        planes = [blob(seed, side=32)] * 3
        for kind, place in (("images", 0), ("labels", 1)):
            values = np.stack([plane[place].T for plane in planes], -1).astype(np.int16)
            nibabel.save(nibabel.Nifti1Image(values, np.diag([1.0, 1, 3, 1])), folder / kind / f"v{seed}.nii.gz")
    return folder


def test_pictures_in_an_adapter_out_and_it_answers(hilum, pictures, tmp_path):
    out = tmp_path / "mine"
    ended = hilum("adapt", "scout", "--data", pictures, "-o", out, *QUICK)
    assert ended.code == 0, ended.err
    assert "Dice of held cases" in ended.out
    assert {path.name for path in out.iterdir()} == {adapter.TENSORS, adapter.CONFIG, "report.html"}
    page = (out / "report.html").read_text()
    assert "data:image/png;base64," in page
    assert "http" not in page.replace("http://www.w3.org", "")
    answered = hilum("ask", out, pictures / "images/p0.png", "--box", "10,10:38,38", "--json")
    assert answered.code == 0, answered.err
    told = json.loads(answered.out)
    assert told["provenance"]["weights"] == "scout.pocket+mine"
    assert "+" in told["provenance"]["weights_sha256"]
    again = hilum("adapt", "scout", "--data", pictures, "-o", out, *QUICK)
    assert again.code == 2
    assert "holds an adapter already" in again.err


def test_volumes_too_and_sites_merge(hilum, volumes, pictures, tmp_path):
    for name, data in (("a", volumes), ("b", pictures)):
        ended = hilum("adapt", "scout", "--data", data, "-o", tmp_path / name, *QUICK)
        assert ended.code == 0, ended.err
    merged = hilum("adapt", "merge", tmp_path / "a", tmp_path / "b", "--weights", "3,5", "-o", tmp_path / "all")
    assert merged.code == 0, merged.err
    assert "0.375" in merged.out
    volume = volumes / "images/v0.nii.gz"
    asked = hilum("ask", f"{tmp_path / 'all'}/", volume, "--box", "6,6,1:26,26,1", "-o", tmp_path / "m.nii.gz")
    assert asked.code == 0, asked.err
    assert np.array_equal(nibabel.load(tmp_path / "m.nii.gz").affine, nibabel.load(volume).affine)


@pytest.mark.slow
def test_a_kill_in_the_middle_costs_no_more_than_the_last_steps(hilum, pictures, tmp_path):
    out = tmp_path / "killed"
    words = ["adapt", "scout", "--data", str(pictures), "-o", str(out), "--steps", "4000", "--batch", "1"]
    program = (
        "import sys; from dataclasses import replace; from hilum.train import loop; "
        "init = loop.Run.__init__; "
        "loop.Run.__init__ = lambda run, system, plan, file: init(run, system, replace(plan, save_seconds=0), file); "
        "from hilum.app.cli import main; main(sys.argv[1:])"
    )
    running = subprocess.Popen([sys.executable, "-c", program, *words, "--method", "head"], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while not (out / adapter.TRAINING).is_file() and time.monotonic() < deadline and running.poll() is None:
            time.sleep(0.05)
        assert (out / adapter.TRAINING).is_file()
    finally:
        os.kill(running.pid, signal.SIGKILL)
        running.wait()
    refused = hilum("ask", f"{out}/", pictures / "images/p0.png", "--box", "1,1:9,9")
    assert refused.code == 2
    assert "holds a training that was stopped" in refused.err
    for left in (".0123456789abcdef.part", ".tmpbGEKu8"):  # as a kill leaves them, ours and the library's
        (out / left).write_bytes(b"half")
    ended = hilum("adapt", "scout", "--data", pictures, "-o", out, "--steps", 1, "--batch", 1, "--method", "head")
    assert ended.code == 0, ended.err
    assert "goes on from step" in ended.err
    assert not (out / adapter.TRAINING).exists()
    assert not list(out.glob(".*"))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("adapt", "scout"), "wants -o FOLDER"),
        (("adapt", "scout", "-o", "x"), "wants one system and --data"),
        (("adapt", "scout", "--data", "nowhere", "-o", "x"), "no such folder: nowhere"),
        (("adapt", "merge", "-o", "x"), "at least two adapters"),
        (("adapt", "merge", "a", "b", "--weights", "one", "-o", "x"), "wanted numbers separated by commas"),
    ],
)
def test_what_is_wrong_is_a_sentence(hilum, tmp_path, monkeypatch, words, sentence):
    monkeypatch.chdir(tmp_path)
    ended = hilum(*words)
    assert ended.code == 2
    assert sentence in ended.err
    assert list(tmp_path.iterdir()) == []


def test_another_method_is_refused_before_anything_is_written(hilum, pictures, tmp_path):
    ended = hilum("adapt", "scout", "--data", pictures, "-o", tmp_path / "x", "--method", "magic")
    assert ended.code == 2
    assert "choose paper, lora, head, wavelet" in ended.err
    assert not (tmp_path / "x").exists()


def test_an_adapter_of_other_weights_is_refused(hilum, pictures, tmp_path):
    out = tmp_path / "mine"
    hilum("adapt", "scout", "--data", pictures, "-o", out, *QUICK)
    told = json.loads((out / adapter.CONFIG).read_text())
    (out / adapter.CONFIG).write_text(json.dumps({**told, "weights_sha256": "0" * 64}))
    ended = hilum("ask", out, pictures / "images/p0.png", "--box", "10,10:38,38")
    assert ended.code == 2
    assert "was made for scout.pocket with sha256 0000000000000000" in ended.err


def test_data_check_says_what_it_saw(hilum, pictures):
    ended = hilum("data", "check", pictures)
    assert ended.code == 0
    assert ended.out.startswith("5 cases (0 volumes) of 5 patients in 1 sources; label values: 1 (in 5)")
    (pictures / "images/p0.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    ended = hilum("data", "check", pictures, "--json")
    assert ended.code == 2
    assert json.loads(ended.out)["sound"] is False
