"""Embeddings as a Parquet table, one row for each vector; axes and provenance stand in the table's metadata."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from hilum.values.answers import Embedding
from hilum.values.errors import BadInput, MissingExtra
from hilum.values.notice import NOTICE

SCHEMA = "hilum.vectors/1"


def parquet() -> Any:
    """The library, or the sentence that says how to get it."""
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtra("writing .parquet", "pyarrow", "parquet") from error
    return pyarrow


def write_parquet(answer: Embedding, path: Path) -> None:
    """Columns `item` and `plane`, where they are known, and `vector`, a list of one length; float32."""
    if answer.vectors.ndim != 2:
        raise BadInput(f"a table holds one vector in a row; these have the axes {answer.axes}: write .npz.")
    arrow = parquet()
    flat = arrow.array(np.ascontiguousarray(answer.vectors, dtype=np.float32).reshape(-1))
    columns: dict[str, Any] = {}
    if answer.items is not None:
        columns["item"] = arrow.array(answer.items, arrow.string())
    if answer.planes is not None:
        columns["plane"] = arrow.array(answer.planes, arrow.int32())
    columns["vector"] = arrow.FixedSizeListArray.from_arrays(flat, answer.vectors.shape[1])
    said = {"schema": SCHEMA, "notice": NOTICE, "axes": answer.axes, "provenance": answer.provenance.as_dict()}
    table = arrow.table(columns).replace_schema_metadata({"hilum": json.dumps(said, ensure_ascii=False)})
    with path.open("wb") as stream:
        arrow.parquet.write_table(table, stream)
