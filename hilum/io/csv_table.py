"""Tables as CSV: a head with names of columns, then lines of cells; every mistake is a sentence that names its line."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from hilum.values.errors import BadInput


def rows(path: Path, needed: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and cells by column, stripped; names of columns are in small letters, and `needed` is among them.

    Cells are parted by commas, or else by semicolons or tabs, as the head shows.
    """
    if not path.is_file():
        raise BadInput(f"no such table: {path}; wanted a CSV file with a column {needed}.")
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            head = stream.readline()
            stream.seek(0)
            reader = csv.reader(stream, delimiter=_delimiter(head), strict=True)
            columns = [name.strip().casefold() for name in next(reader, [])]
            _headed(path, columns, needed)
            for cells in reader:
                if not cells:
                    continue
                if len(cells) != len(columns):
                    told = f"{len(cells)} cells; wanted {len(columns)}, one for each column"
                    raise BadInput(f"{path}, line {reader.line_num}: {told}.")
                yield reader.line_num, dict(zip(columns, (cell.strip() for cell in cells), strict=True))
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not UTF-8: save the table as CSV in UTF-8.") from error
    except csv.Error as error:
        raise BadInput(f"{path}, line {reader.line_num}: {error}; wanted CSV.") from error


def _delimiter(head: str) -> str:
    return next((mark for mark in (",", ";", "\t") if mark in head), ",")


def _headed(path: Path, columns: Sequence[str], needed: str) -> None:
    twice = next((name for name in columns if columns.count(name) > 1), None)
    if twice is not None:
        raise BadInput(f"{path}, line 1: the column {twice or 'without a name'} is there twice.")
    if needed not in columns:
        has = ", ".join(columns) or "none"
        raise BadInput(f"{path}, line 1: wanted a column {needed} with the path of each image; its columns are {has}.")
