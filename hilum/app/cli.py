"""The command line. What a command needs is imported when it runs, so that `hilum --help` answers at once."""

from __future__ import annotations

import sys
import warnings
from typing import Annotated

import typer

from ..values.notice import SENTENCE
from . import audit_commands, bench_commands, data_commands, weights_commands
from .adapt import AdaptOptions, adapt
from .ask_options import AskOptions
from .calibrate import CalibrateOptions, calibrate
from .cards import CardOptions, card
from .check import CheckOptions, check
from .command import Ordered, Said, taking
from .compare import CompareOptions, compare
from .doctor import DoctorOptions, doctor
from .embed import EmbedOptions, embed
from .find import FindOptions, find
from .inspection import InspectOptions, inspection
from .listing import ListOptions, listing
from .mcp.command import McpOptions, mcp
from .new_system import NewSystemOptions, new_system
from .outcome import DEBUG, Told, unexpected
from .probe import ProbeOptions, probe
from .run.command import RunOptions, run
from .serve import OpenOptions, ServeOptions, open_, serve

app = typer.Typer(name="hilum", cls=Told, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False)


def ask(given: AskOptions, said: Said) -> None:
    """Ask a system about an image: a prompt in, an answer out.

    A box, clicks, a first mask or scribbles give a mask on the image's own grid; a question gives a reply. The first
    word is a system if it is a system's name; without one the best that is here is taken, and named on stderr.

    hilum ask scan.nii.gz --box 40,52,18:81,90,18 -o mask.nii.gz

    hilum ask scout ct_folder/ --box liver=60,80,40:290,260,40 --point-out liver=180,120,40 -o seg.dcm --preview seg.png
    """
    from .ask import ask as answer

    answer(given, said)


app.command("ask", cls=Ordered)(taking(AskOptions)(ask))
app.command("run")(taking(RunOptions)(run))
app.command("embed")(taking(EmbedOptions)(embed))
app.command("find")(taking(FindOptions)(find))
app.command("list")(taking(ListOptions)(listing))
app.command("card")(taking(CardOptions)(card))
app.command("inspect")(taking(InspectOptions)(inspection))
app.command("check")(taking(CheckOptions)(check))
app.command("adapt")(taking(AdaptOptions)(adapt))
app.command("probe")(taking(ProbeOptions)(probe))
app.command("compare")(taking(CompareOptions)(compare))
app.command("calibrate")(taking(CalibrateOptions)(calibrate))
app.command("new-system")(taking(NewSystemOptions)(new_system))
app.command("serve")(taking(ServeOptions)(serve))
app.command("open")(taking(OpenOptions)(open_))
app.command("mcp")(taking(McpOptions)(mcp))
app.command("doctor")(taking(DoctorOptions)(doctor))
app.add_typer(weights_commands.app, name="weights")
app.add_typer(bench_commands.app, name="bench")
app.add_typer(data_commands.app, name="data")
app.add_typer(audit_commands.app, name="audit")


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"hilum {version('hilum')}. {SENTENCE}")
        raise typer.Exit()


@app.callback()
def everywhere(
    version: Annotated[bool, typer.Option("--version", help="The version.", callback=_version, is_eager=True)] = False,
    debug: Annotated[bool, typer.Option(DEBUG, help="Show where an error arose; may stand anywhere.")] = False,
) -> None:
    """One door to the foundation models of medical imaging: bring an image and a prompt, get a mask on your own grid.

    hilum ask scan.nii.gz --box 40,52,18:81,90,18 -o mask.nii.gz

    Research use only, not a medical device.
    """


def main(words: list[str] | None = None) -> None:
    """The program `hilum`; ends with an exit code, and with a sentence instead of a traceback."""
    given = sys.argv[1:] if words is None else words
    if DEBUG in given:
        app(given)
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            app(given)
    except Exception as error:
        typer.echo(unexpected(error), err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
