"""What `hilum run` writes is what `hilum ask` writes, whoever does it and in whichever order."""

import csv
import json

import pytest

from gauges import answers

pytestmark = pytest.mark.slow
BOXES = ("8,6:32,30", "a=10,8:30,28 | b=40,2:55,15", "12,10:28,26")


def test_masks_of_scout_are_those_of_hilum_ask_by_one_worker_and_by_two(hilum, disc, tmp_path):
    lines = [f'{disc.name},"{box}",{number}.png' for number, box in enumerate(BOXES)]
    table = tmp_path / "jobs.csv"
    table.write_text("\n".join(["image,box,output", *lines]) + "\n")
    for workers in (1, 2):
        words = "run", table, "-o", tmp_path / f"by{workers}", "--system", "scout", "--workers", workers
        ended = hilum(*words, "--backend", "torch")
        assert ended.code == 0, ended.err
    assert answers(tmp_path / "by1") == answers(tmp_path / "by2")
    for number, boxes in enumerate(BOXES):
        said = [word for box in boxes.split(" | ") for word in ("--box", box)]
        mask = tmp_path / f"asked{number}.png"
        assert hilum("ask", "scout", disc, *said, "-o", mask, "--backend", "torch").code == 0
        assert mask.read_bytes() == (tmp_path / "by1" / f"{number}.png").read_bytes()
    report = json.loads((tmp_path / "by1" / "reports" / "1.json").read_text())
    assert [each["name"] for each in report["objects"]] == ["a", "b"]
    with (tmp_path / "by2" / "summary.csv").open(newline="") as stream:
        assert [row["output"] for row in csv.DictReader(stream)] == ["0.png", "1.png", "2.png"]
