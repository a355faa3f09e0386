"""What goes wrong, in one sentence on stderr; the exit code is 1, 2 for a command without sense, 130 for Ctrl-C."""

from __future__ import annotations

import functools
import re
import shlex
import warnings
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, ParamSpec

import typer

from likeness.cli.text import remark
from likeness.core.errors import BadConfig, LikenessError

P = ParamSpec("P")
DEBUG: ContextVar[bool] = ContextVar("debug", default=False)
FAILED = 1
USAGE = 2
INTERRUPTED = 130

# What messages say to users of Python, in the words of the command line.
_IDIOMS: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = (
    (
        r"columns=\{(['\"])(.+?)\1: '(\w+)'\}",
        lambda m: f"--columns {shlex.quote(f'{m[2]}={m[3]}')}",
    ),
    (r"name it in columns to keep it", "keep it with --columns NAME=TYPE"),
    (r"lk\.fit\(\.\.\., given=\.\.\.\)", "likeness fit ... --given COLUMN"),
    (
        r"load a table's steps with series=\.\.\.",
        "say which series each row is a step of with --series COLUMN",
    ),
    (r"leave series= out: it is", "leave --series out: it is"),
    (r"leave words= out: it is", "leave --words out: it is"),
    (r"leave words= or vocabulary= out", "leave --words or --vocabulary out"),
    (r"a smaller words=", "a smaller --words"),
    (r"leave vocabulary= out: it is", "leave --vocabulary out: it is"),
    (r"\bholdout=(\S+)", r"--holdout \1"),
    (r"\bmax_memory='(\w+)'", r"--max-memory \1"),
    (r"\bsettings (\w+)=", r"--settings \1="),
    (r"\bsize=\(height, width\)", "images of one size"),
    (r"\bgiven=labels\b", "--given COLUMN"),
    (r"\bresolution=(\S+) scores bins", r"--columns NAME=\1 scores bins"),
)


def spoken(text: str) -> str:
    """A message in the words of the command line, on one line."""
    for pattern, words in _IDIOMS:
        text = re.sub(pattern, words, text)
    return " ".join(text.split())


@functools.singledispatch
def sentence(error: BaseException) -> str:
    """What went wrong, in one sentence."""
    said = f"{type(error).__name__}: {error}".rstrip(": ")
    return f"unforeseen: {' '.join(said.split())}; please report it with what --debug adds"


@sentence.register
def _(error: LikenessError) -> str:
    return spoken(str(error))


@sentence.register
def _(error: OSError) -> str:
    place = f" ({error.filename})" if error.filename else ""
    return (
        f"{(error.strerror or str(error)).lower()}{place}; free some room or choose another place"
    )


@sentence.register
def _(error: MemoryError) -> str:
    return "the memory is full; give fewer rows, or fewer at once with --settings rows=256"


def code(error: BaseException) -> int:
    """The exit code of an error."""
    if isinstance(error, BadConfig):
        return USAGE
    return FAILED


def guarded(command: Callable[P, None]) -> Callable[P, None]:
    """The command with every error said in a sentence, unless --debug asks for the traceback."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with warnings.catch_warnings():
            warnings.showwarning = _as_remark
            try:
                command(*args, **kwargs)
            except (typer.Exit, typer.Abort, BrokenPipeError):
                raise
            except KeyboardInterrupt:
                remark("interrupted")
                raise typer.Exit(INTERRUPTED) from None
            except Exception as error:
                if DEBUG.get():
                    raise
                remark(f"error: {sentence(error)}")
                raise typer.Exit(code(error)) from error

    return run


def _as_remark(message: Warning | str, category: type[Warning], *_rest: Any, **_more: Any) -> None:
    if issubclass(category, UserWarning):
        remark(f"note: {spoken(str(message))}")
