"""Arguments and options that several commands share, and what a shell completes them with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from likeness.core.formulas import defused


def complete_family(incomplete: str) -> list[tuple[str, str]]:
    """Names of families, each with its title."""
    from likeness.registry.index import read

    return [(n, f["card"]["title"]) for n, f in sorted(read().items()) if n.startswith(incomplete)]


def complete_option(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Options of the family that the line names, each with its meaning."""
    from likeness.registry.index import read

    rows = read().get(str(ctx.params.get("family")), {}).get("options", [])
    return [
        (f"{row['name']}=", row["meaning"]) for row in rows if row["name"].startswith(incomplete)
    ]


Model = Annotated[Path, typer.Argument(metavar="MODEL", help="The folder of a fitted model.")]
Rows = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="A table (.csv, .tsv, .parquet), an array, images, text, or a named set.",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="Where to write; without it a table goes to stdout."),
]
Seed = Annotated[
    int | None, typer.Option(help="Seed of what is drawn; without it fresh entropy is taken.")
]
Device = Annotated[str, typer.Option(help="Where to compute: cpu, cuda, cuda:1, mps.")]
Effort = Annotated[
    int | None,
    typer.Option(min=1, help="Monte-Carlo draws of each row; the family's own unless told."),
]
SettingsWords = Annotated[
    list[str] | None,
    typer.Option("--settings", metavar="NAME=VALUE", help="How to ask: rows=256, strict=true, ..."),
]
Route = Annotated[
    str | None, typer.Option(help="Another way of answering; `likeness show MODEL` lists them.")
]
Keep = Annotated[
    bool, typer.Option("--keep", help="Put the columns of the data before those of the answer.")
]
Series = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN",
        help="The rows of the table are steps in time: the column that names each row's series, or `all` for one.",
    ),
]
Words = Annotated[
    int | None,
    typer.Option(
        min=1, help="Cut text into words instead of characters: those seen at least so often."
    ),
]


def _bounded(ctx: typer.Context, size: str | None) -> str | None:
    """Bound what the command may read, until it ends."""
    if size is None:
        return None
    from likeness.core.errors import BadConfig
    from likeness.data.limits import bounded

    try:
        ctx.with_resource(bounded(size))
    except BadConfig as error:
        raise typer.BadParameter(f"{size!r} is no size of memory; write 5GB, say") from error
    return size


def _defused(ctx: typer.Context, safe: bool) -> bool:
    """Write no cell that a spreadsheet would run, until the command ends."""
    ctx.with_resource(defused(safe))
    return safe


SafeCsv = Annotated[
    bool,
    typer.Option(
        "--safe-csv",
        callback=_defused,
        help="Put an apostrophe before text that a spreadsheet would run as a formula: what begins with = + - @, "
        "a tab or a return. Numbers stay. Off unless asked for: such cells are read again with the apostrophe.",
    ),
]
MaxMemory = Annotated[
    str | None,
    typer.Option(
        "--max-memory",
        metavar="SIZE",
        callback=_bounded,
        help="What reading may take, such as 5GB; a quarter of the machine's memory unless told.",
    ),
]
Vocabulary = Annotated[
    Path | None,
    typer.Option(
        help="The words of a corpus in LDA-C's format, one a line; else a file beside it."
    ),
]
