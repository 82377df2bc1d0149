"""`hilum find`: which images of an index are nearest to a text, or to another image."""

import base64
import io
import json as jsons
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from ..values.errors import BadInput, HilumError
from ..values.notice import NOTICE, SENTENCE
from . import screen, table
from .command import Said
from .words import exists

if TYPE_CHECKING:
    import numpy as np

    from ..capabilities.system import System
    from ..io.vector_index import Hit, VectorIndex

THUMBNAIL = 224  # pixels of the longest side
STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#1b1f24;background:#fff}
main{display:grid;grid-template-columns:repeat(auto-fill,minmax(14rem,1fr));gap:1rem}figure{margin:0}small{color:#57606a}
img{width:100%;background:#000;aspect-ratio:1;object-fit:contain}figcaption{overflow-wrap:anywhere}
@media(prefers-color-scheme:dark){body{color:#e6edf3;background:#0d1117}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class FindOptions:
    """The index, what is looked for, and how it is shown."""

    index: Annotated[Path, Argument(metavar="INDEX/", help="A folder made by hilum embed SYSTEM IMAGES -o INDEX/")]
    query: Annotated[str, Argument(metavar="TEXT|IMAGE", help="Words, or an image file.", show_default=False)]
    top: Annotated[int, Option(min=1, help="How many images.")] = 12
    html: Annotated[Path | None, Option(metavar="FILE", help="A page with the pictures found.")] = None
    json: Annotated[bool, Option("--json", help="The hits as JSON on stdout.")] = False
    force: Annotated[bool, Option("--force", help="Replace the page if it exists.")] = False
    device: Annotated[str, Option(metavar="auto|cpu|cuda", help="Where it runs.")] = "auto"
    backend: Annotated[str, Option(metavar="auto|torch|openvino", help="What runs it.")] = "auto"


def find(given: FindOptions, said: Said) -> None:
    """Find the images of an index that are nearest to a text or to an image, by the system that made the index.

    hilum embed biomedclip films/ -o index/     then: hilum find index/ "left pleural effusion" --html page.html
    """
    from ..io.atomic import check_target
    from ..io.vector_index import VectorIndex

    if given.html is not None:
        check_target(given.html, force=given.force)
    index = VectorIndex(given.index)
    screen.tell(SENTENCE)
    with screen.shown():
        system = _system(index, given)
        hits = index.nearest(_vector(system, given.query), given.top)
        if given.html is not None:
            _page(given.html, given, hits, str(index.about["system"]))
    if given.json:
        typer.echo(_told(given, index, hits))
        return
    rows = [(f"{hit.cosine:.3f}", hit.row.item, str(hit.row.plane)) for hit in hits]
    typer.echo(table.rows(("cosine", "image", "plane"), rows, right=frozenset({0, 2})))
    if given.html is not None:
        screen.tell(f"the pictures are in {given.html}")


def _system(index: "VectorIndex", given: FindOptions) -> "System":
    """The system that made the index, with the same weights."""
    from .. import registry
    from .ask import device

    tag = str(index.about["system"])
    system = registry.load(tag, device=device(given.device), backend=given.backend)
    if system.weights_sha256 != index.about["weights_sha256"]:
        raise BadInput(f"{given.index} was made with other weights under the name {tag}: embed the images again")
    return system


def _vector(system: "System", query: str) -> "np.ndarray":
    from ..capabilities.embed import embed
    from ..capabilities.match import Worded
    from ..io.read import read

    if exists(Path(query)):
        answer = embed(system.look(read(Path(query))), ())
        if len(answer.vectors) != 1:
            raise BadInput(f"{query} is a volume of {len(answer.vectors)} planes: look for one picture or plane")
        return answer.vectors[0]
    if not isinstance(system, Worded):
        raise BadInput(f"{system.card.name} has no vectors of texts, and there is no file {query}: give it an image")
    return system.worded([query])[0]


def _told(given: FindOptions, index: "VectorIndex", hits: "Sequence[Hit]") -> str:
    found = [{"image": hit.row.item, "plane": hit.row.plane, "cosine": round(hit.cosine, 6)} for hit in hits]
    said: dict[str, Any] = {"schema": "hilum.find/1", "notice": NOTICE, "query": given.query}
    said |= {"system": index.about["system"], "rows": len(index.rows), "found": found}
    return jsons.dumps(said, indent=2, ensure_ascii=False)


def _page(path: Path, given: FindOptions, hits: "Sequence[Hit]", system: str) -> None:
    """Pictures with their cosines; nothing is fetched when the page is opened."""
    from ..io.atomic import replacing

    figures = "".join(map(_figure, hits))
    head = f"<h1>{escape(given.query)}</h1><p><small>{escape(SENTENCE)} Found by {escape(system)}.</small></p>"
    page = f"<!doctype html><meta charset=utf-8><title>hilum find</title><style>{STYLE}</style>{head}"
    with replacing(path, force=given.force) as temporary:
        temporary.write_text(f"{page}<main>{figures}</main>", encoding="utf-8")


def _figure(hit: "Hit") -> str:
    words = f"{hit.cosine:.3f} {escape(hit.row.item)}" + (f", plane {hit.row.plane}" if hit.row.plane else "")
    try:
        picture = f'<img alt="" src="data:image/png;base64,{_thumbnail(hit)}">'
    except (HilumError, OSError) as error:
        picture = f"<p>{escape(str(error))}</p>"
    return f"<figure>{picture}<figcaption>{words}</figcaption></figure>"


def _thumbnail(hit: "Hit") -> str:
    from PIL import Image as Pillow

    from ..io.read import read

    image = read([Path(each) for each in hit.row.files] if len(hit.row.files) > 1 else Path(hit.row.files[0]))
    picture = Pillow.fromarray(image.plane(image.section(), hit.row.plane).shown())
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    stream = io.BytesIO()
    picture.save(stream, "PNG", optimize=True)
    return base64.b64encode(stream.getvalue()).decode()
