"""The folder of a run: nobody else's files in it, one run at a time, and what is recorded is whole."""

import os
import socket
import sqlite3
import subprocess
import sys

import pytest

from hands import item
from hilum.app.run import folder, record
from hilum.app.run.item import Outcome
from hilum.values.errors import BadInput, Failed


def test_a_folder_with_other_files_is_refused(tmp_path):
    folder.check(tmp_path / "new")
    folder.check(tmp_path)
    (tmp_path / "thesis.docx").touch()
    with pytest.raises(BadInput, match=r"holds other files, such as thesis.docx: give a folder of its own"):
        folder.check(tmp_path)
    with pytest.raises(BadInput, match="is a file: -o names a folder"):
        folder.check(tmp_path / "thesis.docx")
    (tmp_path / "run.sqlite").touch()
    folder.check(tmp_path)


def test_what_a_killed_write_left_is_swept_and_nothing_else(tmp_path):
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / ".0123456789abcdef.part").touch()
    (tmp_path / "reports" / ".hidden").touch()
    with folder.held(tmp_path):
        assert [path.name for path in (tmp_path / "reports").iterdir()] == [".hidden"]
    assert not (tmp_path / "run.lock").exists()


def test_two_runs_at_once_are_refused_with_the_name_of_the_first(tmp_path):
    with (
        folder.held(tmp_path),
        pytest.raises(Failed, match=rf"is being worked in by process {os.getpid()} on .*: wait for it"),
        folder.held(tmp_path),
    ):
        pass
    with folder.held(tmp_path):
        pass


def test_the_lock_of_a_dead_process_is_taken_over(tmp_path):
    program = "import os, pathlib, sys; from hilum.app.run import folder; "
    program += "held = folder.held(pathlib.Path(sys.argv[1])); held.__enter__(); os._exit(0)"
    subprocess.run([sys.executable, "-c", program, tmp_path], check=True)
    assert (tmp_path / "run.lock").exists()
    with folder.held(tmp_path):
        assert (tmp_path / "run.lock").read_text().split()[0] == str(os.getpid())


@pytest.mark.skipif(sys.platform != "linux", reason="the start of a process is known there")
def test_a_number_that_was_given_out_again_is_no_owner(tmp_path):
    """The process of this number lives, but it began at another time than the one that took the lock."""
    with folder.held(tmp_path):
        pid, host, start = (tmp_path / "run.lock").read_text().split()
    (tmp_path / "run.lock").write_text(f"{pid}\n{host}\n{int(start) - 1}\n")
    with folder.held(tmp_path):
        pass


def test_of_a_process_on_another_machine_nobody_knows(tmp_path):
    (tmp_path / "run.lock").write_text(f"1\nnot-{socket.gethostname()}\n")
    with pytest.raises(Failed, match=r"If that run is gone for good.*, delete .*run.lock"), folder.held(tmp_path):
        pass


def test_a_record_is_whole_only_while_its_files_are_as_they_were(tmp_path):
    (tmp_path / "a.txt").write_text("a")
    done = Outcome({"a.txt": record.digest(tmp_path / "a.txt")}, "system", "answer", ("note",))
    first, second, third = item(1), item(2), item(3)
    with record.opened(tmp_path) as kept:
        kept.keep(first, done)
        kept.keep(second, Outcome(why="too dark"))
    found = record.seen(tmp_path)
    assert found == {first.key: done, second.key: Outcome(why="too dark")}
    assert record.whole(tmp_path, [first, second, third], found) == found
    (tmp_path / "a.txt").write_text("b")
    assert set(record.whole(tmp_path, [first, second], found)) == {second.key}
    (tmp_path / "a.txt").unlink()
    assert set(record.whole(tmp_path, [first], found)) == set()


def test_records_of_others_are_refused_in_a_sentence(tmp_path):
    (tmp_path / "run.sqlite").write_text("no database, but long enough to look like one" * 30)
    with pytest.raises(BadInput, match="cannot be used"):
        record.seen(tmp_path)
    (tmp_path / "run.sqlite").unlink()
    with sqlite3.connect(tmp_path / "run.sqlite") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(BadInput, match="was written by another version of hilum"):
        record.seen(tmp_path)
