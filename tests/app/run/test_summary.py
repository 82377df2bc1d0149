"""The summary: a table for programs, a page for people; what failed stands first, nothing from outside is markup."""

import csv
import json
from dataclasses import replace

from hands import item
from hilum.app.run.item import Outcome
from hilum.app.run.summary import Summary, write

EVIL = '<script>alert("x")</script>'
DONE = Outcome({"m.png": "0", "p.png": "0", "reports/item1.json": "0"}, "scout.pocket", "liver 3 ml", ("a note",))


def summary() -> Summary:
    first = replace(item(1), output="m.png", preview="p.png", images=(EVIL, "b.png"))
    items = (first, item(2), item(3))
    return Summary(f"{EVIL}.csv", "1.2", items, {"key1": DONE, "key2": Outcome(why=f"no {EVIL} here.")})


def test_states_are_counted_in_words():
    told = summary()
    assert told.sentence() == "3 items: 1 done, 1 failed, 1 waiting"
    assert [line.line for line, _ in told.failed()] == [2]
    assert replace(told, items=told.items[:1]).sentence() == "1 item: 1 done"


def test_the_table_has_a_row_for_each_line(tmp_path):
    write(summary(), tmp_path)
    with (tmp_path / "summary.csv").open(newline="") as stream:
        first, second, third = csv.DictReader(stream)
    assert first["image"] == f"{EVIL} | b.png"
    assert (first["state"], first["output"], first["report"]) == ("done", "m.png", "reports/item1.json")
    assert (second["state"], second["output"]) == ("failed", "")
    assert second["why"] == f"no {EVIL} here."
    assert third["state"] == "waiting"


def test_the_page_lists_failures_first_and_shows_nothing_as_markup(tmp_path):
    write(summary(), tmp_path)
    page = (tmp_path / "summary.html").read_text()
    assert page.index("<h2>Failed</h2>") < page.index("<h2>All</h2>")
    assert "<script" not in page
    assert "Content-Security-Policy" in page
    assert '<img src="p.png"' in page
    assert "Research use only, not a medical device." in page


def test_equal_runs_make_equal_files(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write(summary(), tmp_path / name)
    for name in ("summary.csv", "summary.html"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_facts_are_plain():
    told = json.loads(json.dumps(summary().facts()))
    assert (told["done"], told["failed"], told["waiting"]) == (1, 1, 1)
    assert told["items"][0]["system"] == "scout.pocket"
