"""`hilum new-system`: a plug-in to start from, which works before a line of it is changed."""

import keyword
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from ..values.card import NAME
from ..values.errors import BadInput
from .command import Said

SCAFFOLD = Path(__file__).parent / "scaffold"
STAND_IN = "bright_region"
FILES = {  # file here -> its name in the new folder
    "package.toml": "pyproject.toml",
    f"{STAND_IN}.py": "{name}.py",
    f"{STAND_IN}.toml": "{name}.toml",
    f"test_{STAND_IN}.py": "test_{name}.py",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSystemOptions:
    """Its name, and where its folder is made."""

    name: Annotated[
        str, Argument(metavar="NAME", help="Lower case letters, digits and underscores.", show_default=False)
    ]
    output: Annotated[
        Path | None, Option("-o", "--output", metavar="FOLDER", help="A folder that is not there yet; else ./NAME.")
    ] = None


def new_system(given: NewSystemOptions, said: Said) -> None:
    """Start a system of your own: a package with a card, a module that works, and a test.

    hilum new-system bright_region, then pip install -e bright_region/
    """
    from ..io.atomic import replacing

    _free(given.name)
    folder = given.output or Path(given.name)
    _make(folder)
    for name, text in texts(given.name).items():
        with replacing(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
        typer.echo(str(folder / name))
    typer.echo(f"next: pip install -e {folder}, then hilum ask {given.name} IMAGE --point X,Y")


def _free(name: str) -> None:
    """Refuses what is no name, and the names of systems and modules that are here."""
    from .. import registry
    from ..io.module_file import module_file

    if not NAME.fullmatch(name) or keyword.iskeyword(name):
        raise BadInput(f"{name!r} is no name of a system; wanted lower case letters, digits and underscores.")
    if registry.knows(name):
        raise BadInput(f"the name {name} is taken: hilum card {name} says by what; give another name.")
    if name in sys.stdlib_module_names or module_file(name) is not None:
        raise BadInput(f"a module called {name} is here already, which would be hidden or hide it; give another name.")


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True)
    except FileExistsError as error:
        raise BadInput(f"{folder} is there already and is left as it is; -o names another folder.") from error
    except OSError as error:
        raise BadInput(f"the folder {folder} cannot be made: {(error.strerror or str(error)).lower()}.") from error


def texts(name: str) -> dict[str, str]:
    """What the files of a new system hold, by their names."""
    title = "".join(word.capitalize() for word in name.split("_"))
    words = {STAND_IN: name, STAND_IN.replace("_", "-"): name.replace("_", "-"), "BrightRegion": title}
    pattern = re.compile("|".join(words))
    return {
        target.format(name=name): pattern.sub(lambda found: words[found[0]], (SCAFFOLD / source).read_text("utf-8"))
        for source, target in FILES.items()
    }
