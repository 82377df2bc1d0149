"""Workers as processes: what one leaves undone another takes up, and none outlives the run."""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hands import dying, item, refusing, writing
from hilum.app.run.answering import Setting, hire
from hilum.app.run.dispatch import outcomes
from hilum.app.run.processes import Processes, reason
from hilum.values import progress
from hilum.values.errors import Failed


def done(items, folder, count=2, hiring=writing):
    """The outcomes by line, and what was said meanwhile."""
    said = []
    with (
        progress.heard_by(lambda what, number, total: said.append(what)),
        Processes(Setting(str(folder)), count, hiring) as crew,
    ):
        return {each.line: outcome for each, outcome in outcomes(items, crew)}, said


def test_all_are_done_by_as_many_as_there_are(tmp_path):
    found, _ = done([item(line, f"word{line}") for line in range(7)], tmp_path)
    assert sorted(found) == list(range(7))
    assert all(outcome.done for outcome in found.values())
    assert (tmp_path / "item6.txt").read_text() == "word6"


def test_one_failure_is_one_failure(tmp_path):
    found, _ = done([item(1, "fail:it is too dark."), item(2, "x")], tmp_path, count=1)
    assert found[1].why == "it is too dark."
    assert found[2].done


def test_a_killed_worker_loses_nothing(tmp_path):
    items = [item(line, f"die once:{tmp_path / 'mark'}" if line == 3 else "x") for line in range(6)]
    found, said = done(items, tmp_path)
    assert sorted(found) == list(range(6))
    assert all(outcome.done for outcome in found.values())
    assert "the worker of line 3 was ended by SIGKILL; the line is taken again." in said


def test_an_item_that_kills_its_worker_twice_has_failed_and_the_others_are_done(tmp_path):
    items = [item(1, f"die:{tmp_path / 'marks'}"), *(item(line, "x") for line in range(2, 6))]
    found, _ = done(items, tmp_path)
    assert (tmp_path / "marks").read_text() == "xx"
    assert found.pop(1).why.startswith("twice a worker ended over it, the last one was ended by SIGKILL; ")
    assert [outcome.done for outcome in found.values()] == [True] * 4


def test_a_worker_that_leaves_is_like_one_that_is_killed(tmp_path):
    found, _ = done([item(1, "leave"), item(2, "x")], tmp_path, count=1)
    assert "ended with exit code 3" in found[1].why
    assert found[2].done


def test_items_about_one_image_go_to_the_worker_that_has_seen_it(tmp_path):
    groups = "aabbabab"
    found, _ = done([item(line, "x", group=group) for line, group in enumerate(groups)], tmp_path, count=1)
    assert max(found.values(), key=lambda each: len(each.answer)).answer == "a,a,a,a,b,b,b,b"


def test_what_workers_say_is_heard_once(tmp_path):
    _, said = done([item(line, "say:preparing the network") for line in range(3)], tmp_path)
    assert said == ["preparing the network"]


@pytest.mark.parametrize(
    ("hiring", "sentence"),
    [(refusing, "it says: there is no bread"), (dying, "it was ended by SIGKILL"), (hire, "does not see")],
)
def test_where_no_worker_can_begin_the_run_ends_with_the_reason(tmp_path, hiring, sentence):
    with pytest.raises(Failed, match=f"no worker can be had: .*{sentence}"):
        done([item(1, "x")], tmp_path, hiring=hiring)


def test_reasons_are_words():
    assert reason(-signal.SIGTERM) == "was ended by SIGTERM"
    assert reason(-200) == "was ended by signal 200"


PARENT = """
import sys
sys.path.insert(0, {tests!r})
from hands import item, writing
from hilum.app.run.answering import Setting
from hilum.app.run.dispatch import outcomes
from hilum.app.run.processes import Processes

if __name__ == "__main__":
    with Processes(Setting({folder!r}), 1, writing) as crew:
        list(outcomes([item(1, "wait:" + {gate!r})], crew))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a fifo tells when its reader is gone")
def test_a_worker_ends_with_its_parent_even_if_that_is_killed(tmp_path):
    """The worker holds a pipe open; when the parent is killed, its end of the pipe is gone too."""
    gate, program = tmp_path / "gate", tmp_path / "parent.py"
    os.mkfifo(gate)
    program.write_text(PARENT.format(tests=str(Path(__file__).parents[2]), folder=str(tmp_path), gate=str(gate)))
    with subprocess.Popen([sys.executable, program]) as parent:
        end = os.open(gate, os.O_WRONLY)  # opens when the worker reads
        parent.kill()
        parent.wait()
        watch = select.poll()
        watch.register(end, 0)
        assert watch.poll(60_000), "the worker went on without its parent"
        os.close(end)
