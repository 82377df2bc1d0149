"""Small tables of plain text: aligned, never cut, quick to make."""

from __future__ import annotations

from collections.abc import Sequence

import typer

GAP = "  "


def rows(head: Sequence[str], body: Sequence[Sequence[str]], *, right: frozenset[int] = frozenset()) -> str:
    """Columns as wide as they must be; those in `right` end flush, as numbers do. The head is bold on a terminal."""
    widths = [max(map(len, column)) for column in zip(head, *body, strict=True)]
    lines = [_line(row, widths, right) for row in (head, *body)]
    return "\n".join([typer.style(lines[0], bold=True), *lines[1:]])


def _line(row: Sequence[str], widths: Sequence[int], right: frozenset[int]) -> str:
    cells = (
        cell.rjust(width) if number in right else cell.ljust(width)
        for number, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    return GAP.join(cells).rstrip()


def fields(pairs: Sequence[tuple[str, str]], *, width: int = 100) -> str:
    """Name and value on a line each; long values are wrapped under themselves, nothing stands for an empty one."""
    import textwrap

    kept = [(name, value) for name, value in pairs if value]
    indent = max((len(name) for name, _ in kept), default=0) + len(GAP)
    lines = []
    for name, value in kept:
        wrapped = [
            piece
            for line in value.splitlines()
            for piece in textwrap.wrap(line, max(20, width - indent), break_long_words=False, break_on_hyphens=False)
        ]
        lines.append(typer.style(name, bold=True) + " " * (indent - len(name)) + (wrapped[0] if wrapped else ""))
        lines.extend(" " * indent + piece for piece in wrapped[1:])
    return "\n".join(lines)
