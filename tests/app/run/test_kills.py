"""`hilum run` through kills: of the run, of a worker, by an image; what comes out is the same to the byte."""

import csv
import os
import signal

import pytest

from gauges import FATAL, HELD, ONCE, Held, answers, started

pytestmark = pytest.mark.slow


def test_a_journey_embeds_a_table_is_killed_half_way_and_goes_on(hilum, gauge, table, tmp_path):
    jobs = table(10, 20, 30, HELD, 50, 60, 70)
    assert hilum("run", jobs, "-o", tmp_path / "whole", "--workers", 1).code == 0
    gate = Held(gauge)
    running = started("run", jobs, "-o", tmp_path / "cut", "--workers", 1)
    gate.reached(running)
    running.send_signal(signal.SIGKILL)
    running.communicate()  # ends when the worker has ended too, which holds the same stderr
    done = {name: (tmp_path / "cut" / name).stat().st_mtime_ns for name in answers(tmp_path / "cut")}
    assert len(done) == 3
    again = hilum("run", jobs, "-o", tmp_path / "cut", "--workers", 1)
    assert again.code == 0
    assert "3 of 7 items are done already" in again.err
    assert answers(tmp_path / "cut") == answers(tmp_path / "whole")
    assert done == {name: (tmp_path / "cut" / name).stat().st_mtime_ns for name in done}
    third = hilum("run", jobs, "-o", tmp_path / "cut")
    assert "7 of 7 items are done already" in third.err
    assert answers(tmp_path / "cut") == answers(tmp_path / "whole")


def test_a_worker_that_is_killed_loses_nothing(hilum, gauge, table, tmp_path):
    jobs = table(10, 20, HELD, 40)
    gate = Held(gauge)
    running = started("run", jobs, "-o", tmp_path / "hit", "--workers", 1)
    os.kill(gate.reached(running), signal.SIGKILL)
    _, said = running.communicate(timeout=120)
    assert running.returncode == 0, said
    assert "the worker of line 4 was ended by SIGKILL; the line is taken again" in said
    assert hilum("run", jobs, "-o", tmp_path / "whole", "--workers", 1).code == 0
    assert answers(tmp_path / "hit") == answers(tmp_path / "whole")


def test_an_image_that_ends_two_workers_has_failed_and_the_rest_is_done(hilum, gauge, table, tmp_path):
    jobs, out = table(10, FATAL, ONCE, 30), tmp_path / "out"
    ended = hilum("run", jobs, "-o", out, "--workers", 2)
    assert ended.code == 1
    assert "line 3, pictures/01.png: twice a worker ended over it, the last one was ended by SIGKILL" in ended.err
    assert "1 of 4 items failed, as listed above." in ended.err
    with (out / "summary.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["state"] for row in rows] == ["done", "failed", "done", "done"]
    page = (out / "summary.html").read_text()
    assert "4 items: 3 done, 1 failed" in page
    assert "twice a worker ended over it" in page
    assert "not a medical device" in page


def test_a_folder_that_a_run_works_in_is_refused_to_another_and_is_free_once_it_is_dead(hilum, gauge, table, tmp_path):
    jobs, out = table(HELD), tmp_path / "out"
    gate = Held(gauge)
    running = started("run", jobs, "-o", out)
    gate.reached(running)
    second = hilum("run", jobs, "-o", out)
    assert second.code == 1
    assert f"is being worked in by process {running.pid} on " in second.err
    running.kill()
    running.communicate()
    assert (out / "run.lock").exists()
    assert hilum("run", jobs, "-o", out).code == 0


def test_a_run_that_is_stopped_says_so_and_its_summary_what_still_waits(gauge, table, tmp_path):
    jobs, out = table(10, HELD, 30), tmp_path / "out"
    gate = Held(gauge)
    running = started("run", jobs, "-o", out, "--workers", 1)
    gate.reached(running)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=120)
    assert running.returncode == 130
    assert "stopped; nothing half-written is left behind." in said
    with (out / "summary.csv").open(newline="") as stream:
        assert [row["state"] for row in csv.DictReader(stream)] == ["done", "waiting", "waiting"]
    assert not (out / "run.lock").exists()
