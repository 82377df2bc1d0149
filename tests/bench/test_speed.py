"""The table of speed: ratios by pairs, verdicts, and the page it is put into."""

import sys
import time

import pytest

from hilum.bench import speed, speed_table
from hilum.bench.speed_table import Line, Spent, Took
from hilum.values.errors import BadInput


def test_ratios_are_medians_over_pairs_so_one_disturbed_pair_does_not_count():
    ours = [Took(1.0, 2.0), Took(5.0, 2.0), Took(1.0, 2.0)]
    theirs = [Took(10.0, 8.0), Took(50.0, 8.0), Took(2000.0, 8.0)]
    assert speed_table.ratio(ours, theirs) == 10
    assert speed_table.cpu_ratio(ours, theirs) == 4


def test_works_take_turns_and_the_first_round_does_not_count():
    calls = []
    runs = speed_table.in_turns(2, lambda: calls.append("a"), lambda: calls.append("b"))
    assert calls == ["a", "b"] * 3
    assert [len(each) for each in runs] == [2, 2]


def test_only_a_missed_requirement_is_a_miss():
    assert Line("look", "1 s").verdict == ""
    assert Line("look", "1 s", met=True).verdict == "met"
    assert Line("look", "1 s", met=False).verdict == "MISSED"


def test_what_needs_bf16_is_not_judged_without_it(monkeypatch):
    bench = speed.Bench.__new__(speed.Bench)
    monkeypatch.setattr(speed, "native", lambda: "f32")
    assert bench.wanted("≥ 10×") == speed.BF16
    assert bench.judged(False) is None
    monkeypatch.setattr(speed, "native", lambda: "bf16")
    assert bench.wanted("≥ 10×") == "≥ 10×"
    assert bench.judged(False) is False


def test_a_part_that_fails_is_a_line_that_says_why_and_is_missed(monkeypatch):
    def broken_lines(bench):
        yield Line("before", "1 s")
        raise BadInput("there is no such system")

    monkeypatch.setattr(speed, "PARTS", (broken_lines,))
    found = list(speed.lines(None))
    assert [line.what for line in found] == ["before", "broken"]
    assert "there is no such system" in found[1].ours
    assert found[1].met is False


def test_the_table_replaces_the_one_before_and_nothing_else(tmp_path):
    page = tmp_path / "docs" / "measurements.md"
    speed_table.write_into(page, "first")
    page.write_text(page.read_text() + "\nafter\n")
    speed_table.write_into(page, "second")
    text = page.read_text()
    assert "first" not in text
    assert text.startswith("# Measurements")
    assert text.endswith("\nafter\n")
    assert text.count(speed_table.BEGIN) == text.count(speed_table.END) == 1


def test_a_page_with_one_marker_is_left_alone(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"text {speed_table.BEGIN} text")
    with pytest.raises(BadInput, match="without"):
        speed_table.write_into(page, "table")
    assert page.read_text() == f"text {speed_table.BEGIN} text"


def test_the_table_is_markdown():
    text = speed_table.markdown(["a machine"], [Line("look", "1 s", "other: 2 s", "2.00×", "≥ 1.5×", True)])
    assert text.splitlines()[0] == "- a machine"
    assert text.splitlines()[-1] == "| look | 1 s | other: 2 s | 2.00× | ≥ 1.5× | met |"


def test_the_table_says_what_others_took_of_the_machine(monkeypatch):
    monkeypatch.setattr(speed_table.os, "cpu_count", lambda: 2)
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    begin = Spent(clock=100.0, worked=50.0, stolen=1.0, own=10.0)
    alone = speed_table.busy(begin, Spent(clock=110.0, worked=70.0, stolen=1.0, own=30.0))
    assert alone.startswith("2 cores, otherwise idle")
    shared = speed_table.busy(begin, Spent(clock=110.0, worked=70.0, stolen=1.0, own=20.0))
    assert "BUSY: other processes took 1.00 of them" in shared
    assert "BUSY" in speed_table.busy(begin, Spent(clock=110.0, worked=60.0, stolen=6.0, own=20.0))
    assert "does not tell" in speed_table.busy(None, None)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's own count")
def test_what_this_process_spends_is_counted_as_its_own():
    before = Spent.now()
    deadline = time.process_time() + 0.3
    while time.process_time() < deadline:
        pass
    after = Spent.now()
    assert before is not None
    assert after is not None
    assert 0.25 < after.own - before.own < after.worked - before.worked + 0.1
