"""The command line: each verb in a file of its own; nothing heavy is imported before it is needed."""

from __future__ import annotations

import io
import sys
import traceback
from typing import Annotated, Any

import typer

from likeness.cli.check import check
from likeness.cli.compare import compare
from likeness.cli.complete import complete
from likeness.cli.demo import demo
from likeness.cli.errors import DEBUG, FAILED, guarded
from likeness.cli.families import families
from likeness.cli.fit import fit
from likeness.cli.forecast import forecast
from likeness.cli.new_family import new_family
from likeness.cli.sample import sample
from likeness.cli.score import classify, encode, score
from likeness.cli.show import show
from likeness.cli.tag import tag
from likeness.cli.text import lossless, remark

VERBS = (
    fit,
    sample,
    score,
    encode,
    complete,
    forecast,
    tag,
    classify,
    compare,
    check,
    families,
    new_family,
    show,
    demo,
)

app = typer.Typer(
    name="likeness",
    help="Fit a family of generative models to your data, and ask it questions. Every answer says how exact it is.",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help is there in a third of the time
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for verb in VERBS:
    app.command(verb.__name__.replace("_", "-"))(guarded(verb))


def _version(asked: bool) -> None:
    if asked:
        from likeness import __version__

        typer.echo(f"likeness {__version__}")
        raise typer.Exit


@app.callback()
def everywhere(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="The version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Options of every command."""
    DEBUG.set(debug)


def main() -> None:
    """Run the command line; --debug may stand anywhere."""
    lossless()
    words = sys.argv[1:]
    if (
        words[:1] == ["families"]
        and len(words) < 3
        and not any(word.startswith("-") for word in words)
    ):
        sys.exit(_quick(*words[1:]))
    sys.exit(_run(sorted(words, key=lambda word: word != "--debug")))


# What the parser of commands raises: its own name for it has moved between versions.
_WRONG: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


def _run(words: list[str]) -> int | None:
    """A command and its exit code; what the parser and --debug say is cleaned as every other line is."""
    try:
        code: int | None = app(words, prog_name="likeness", standalone_mode=False)
    except typer.Abort:
        remark("Aborted!")
        return FAILED
    except _WRONG as error:
        said = io.StringIO()
        error.show(said)
        remark(said.getvalue().rstrip())
        return int(error.exit_code)
    except Exception:
        remark(traceback.format_exc().rstrip())
        return FAILED
    return code


def _quick(name: str | None = None) -> int:
    """`families` past typer, which loads pydantic to read a line: that would take most of the time."""
    try:
        guarded(families)(name)
    except typer.Exit as stopped:
        return stopped.exit_code
    return 0
