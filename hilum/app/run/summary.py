"""What came of a run: a table for programs and a page for people. Equal runs make equal files: no times are in them."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from ...io.atomic import replacing
from ...values.notice import NOTICE, SENTENCE
from .folder import PAGE, TABLE
from .item import Item, Outcome

HEAD = ("line", "image", "state", "system", "answer", "output", "preview", "explain", "report", "why", "notes")
STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .35rem .6rem; border-bottom: 1px solid #8884; }
td.line { text-align: right; }
tr.failed td { background: #c0392b22; }
img { max-width: 22rem; max-height: 12rem; }
small, .note { opacity: .75; }
"""
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'"


@dataclass(frozen=True, slots=True)
class Summary:
    """The items of a table with what came of each, so far."""

    table: str
    version: str
    items: tuple[Item, ...]
    outcomes: Mapping[str, Outcome]

    def state(self, item: Item) -> str:
        """done, failed, or waiting."""
        outcome = self.outcomes.get(item.key)
        return "waiting" if outcome is None else "done" if outcome.done else "failed"

    def count(self, state: str) -> int:
        """How many items are in this state."""
        return sum(self.state(item) == state for item in self.items)

    def failed(self) -> list[tuple[Item, Outcome]]:
        """What failed, and why."""
        return [(item, self.outcomes[item.key]) for item in self.items if self.state(item) == "failed"]

    def sentence(self) -> str:
        """The counts: "12 items: 10 done, 2 failed"."""
        counts = ((self.count(state), state) for state in ("done", "failed", "waiting"))
        said = ", ".join(f"{count} {state}" for count, state in counts if count)
        return f"{len(self.items)} item{'s'[: len(self.items) != 1]}: {said}"

    def facts(self) -> dict[str, Any]:
        """The same as plain types."""
        counts = {state: self.count(state) for state in ("done", "failed", "waiting")}
        rows = [dict(zip(HEAD, _row(self, item), strict=True)) for item in self.items]
        return {"schema": "hilum.run/1", "notice": NOTICE, "table": self.table, **counts, "items": rows}


def write(summary: Summary, folder: Path) -> None:
    """Both files, each whole or as it was."""
    with replacing(folder / TABLE, force=True) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEAD)
        writer.writerows(_row(summary, item) for item in summary.items)
    with replacing(folder / PAGE, force=True) as temporary:
        temporary.write_text(page(summary), encoding="utf-8")


def _row(summary: Summary, item: Item) -> list[str]:
    outcome = summary.outcomes.get(item.key, Outcome())
    files = [name if name in outcome.files else "" for name in (item.output, item.preview, item.explain, item.report)]
    told = [str(item.line), " | ".join(item.images), summary.state(item), outcome.system, outcome.answer]
    return [*told, *(name or "" for name in files), outcome.why, " ".join(outcome.notes)]


def page(summary: Summary) -> str:
    """A page that needs nothing but the files beside it; whatever came from outside is only ever text."""
    failed = summary.failed()
    parts = [
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(summary.table)}</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}"><style>{STYLE}</style></head><body>',
        f"<h1>{escape(summary.table)}</h1><p>{escape(summary.sentence())}. {SENTENCE}</p>",
        *([f"<h2>Failed</h2>{_table(summary, [item for item, _ in failed])}"] if failed else []),
        f"<h2>All</h2>{_table(summary, summary.items)}",
        f"<p><small>hilum {escape(summary.version)}; the same as a table: {_link(TABLE)}.</small></p></body></html>\n",
    ]
    return "\n".join(parts)


def _table(summary: Summary, items: Sequence[Item]) -> str:
    head = "".join(f"<th>{name}</th>" for name in ("line", "image", "state", "answer", "files"))
    return f"<table><tr>{head}</tr>{''.join(_line(summary, item) for item in items)}</table>"


def _line(summary: Summary, item: Item) -> str:
    outcome, state = summary.outcomes.get(item.key, Outcome()), summary.state(item)
    by = f"<br><small>{escape(outcome.system)}</small>" if outcome.system else ""
    notes = "".join(f'<br><small class="note">{escape(note)}</small>' for note in outcome.notes)
    files = "<br>".join(_link(name) for name in item.files if name in outcome.files)
    shown = "".join(f"<br>{_picture(name)}" for name in (item.preview, item.explain) if name in outcome.files)
    cells = [" | ".join(item.images), state]
    told = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
    answer = f"<td>{escape(outcome.answer or outcome.why)}{by}{notes}</td>"
    return f'<tr class="{state}"><td class="line">{item.line}</td>{told}{answer}<td>{files}{shown}</td></tr>\n'


def _link(name: str) -> str:
    from urllib.parse import quote

    return f'<a href="{quote(name)}">{escape(name)}</a>'


def _picture(name: str | None) -> str:
    from urllib.parse import quote

    return f'<img src="{quote(name)}" alt="{escape(name)}">' if name and name.endswith(".png") else ""
