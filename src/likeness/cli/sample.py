"""`likeness sample`: draw from a model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from likeness.cli import options, output, rows
from likeness.cli.arguments import Device, Model, Out, SafeCsv, Seed, SettingsWords
from likeness.cli.text import remark, say
from likeness.core.errors import BadConfig
from likeness.core.words import copies_in_words, plural

if TYPE_CHECKING:
    from likeness.core.draws import Draws
    from likeness.core.model import Model as Fitted

OF_COLUMNS = ("table", "vector")


def sample(
    model: Model,
    n: Annotated[int, typer.Option("-n", min=1, help="How many to draw.")] = 5,
    out: Out = None,
    given: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="What to draw under; the value alone where there is one name.",
        ),
    ] = None,
    fix: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN=VALUE", help="A column's value: the others are drawn given it."
        ),
    ] = None,
    first: Annotated[
        int, typer.Option(min=0, help="The number of the first item: goes on where a draw ended.")
    ] = 0,
    seed: Seed = None,
    settings: SettingsWords = None,
    safe_csv: SafeCsv = False,
    device: Device = "cpu",
) -> None:
    """Draw new items.

    A table goes to stdout or a file; pictures, sounds and text to a file.

    likeness sample runs/flow -n 64 --out samples.png
    """
    fixed = options.pairs(fix, "--fix")
    fitted = rows.open_model(model, device)
    write = _writer(fitted, out)
    condition = _condition(fitted, given or [])
    draws = _drawn(fitted, n, condition, fixed, first, seed, rows.settings(fitted, settings))
    write(draws)
    remark(f"{plural(n, 'item')} drawn with --seed {draws.seed}: {draws.how}")
    if fitted.facts.get("copies"):
        remark(copies_in_words(fitted.facts["copies"]))


def _condition(model: Fitted, words: list[str]) -> dict[str, str]:
    names = () if model.given_space is None else model.given_space.names or ()
    alone = len(words) == len(names) == 1 and "=" not in words[0]
    if alone:
        return {names[0]: words[0]}
    return options.pairs(words, "--given")


def _drawn(
    model: Fitted,
    n: int,
    condition: dict[str, str],
    fixed: dict[str, str],
    first: int,
    seed: int | None,
    asked: Any,
) -> Draws:
    from likeness.query import query

    if condition:
        under = _values(condition, model.given_space)
    else:
        under = None
    if fixed:
        known = _values(fixed, model.space)
        drawn = query(model, "sample", given=under, evidence=known, n=n, seed=seed, settings=asked)
        return _flat(drawn)  # type: ignore[arg-type]
    return _flat(model.sample(n, given=under, seed=seed, first=first, settings=asked))


def _values(typed: dict[str, str], space: Any) -> dict[str, Any]:
    """Values as the columns read them: words stay words where the column holds categories."""
    if space is None:
        raise BadConfig(
            "the model was fitted without --given",
            do="leave --given out, or fit it again with --given",
        )
    words = {
        n for n, v in zip(space.names or (), space.columns, strict=False) if v.type == "nominal"
    }
    return {name: text if name in words else options.value(text) for name, text in typed.items()}


def _flat(draws: Draws) -> Draws:
    """Draws for one condition as plain items (n, *E)."""
    leading = draws.x.dim() - len(draws.space.shape)
    if leading < 2:
        return draws
    if draws.length is None:
        length = None
    else:
        length = draws.length.flatten()
    if draws.given is None:
        given = None
    else:
        given = draws.given.repeat(len(draws))
    return replace(draws, x=draws.x.flatten(0, 1), length=length, given=given)


def _writer(model: Fitted, out: Path | None) -> Any:
    """How the draws are written, refused before anything is drawn."""
    from likeness.core.draws import WRITERS

    output.check(out, tuple({*WRITERS, *output.TABLES}))
    if out is not None and out.suffix.lower() not in output.TABLES:
        return lambda draws: _save(draws, out)
    if out is None and model.space.source in {"text", "words"}:
        return _lines
    if out is None and len(model.space.shape) > 1:
        raise BadConfig(
            f"{model.space.source or 'arrays'} cannot be shown here", do="add --out samples.png"
        )
    single = model.dtype.itemsize < 8
    return lambda draws: output.emit(output.tidy(table_of(draws), single), out, forms(draws))


def _save(draws: Draws, out: Path) -> None:
    from likeness.core.draws import SEVERAL
    from likeness.data.audio import targets

    draws.save(out)
    if out.suffix.lower() not in SEVERAL or len(draws.batch) == 1:
        remark(f"written to {out}")
        return
    first, *_, last = targets(out, len(draws.batch))
    remark(f"written to {first} ... {last}")


def _lines(draws: Draws) -> None:
    from likeness.data import text

    for line in text.decode(draws.space, draws.batch):
        say(line)


def forms(draws: Draws) -> dict[str, str | None]:
    """How the columns of draws are written."""
    from likeness.data.frames import forms_of

    return forms_of(draws.space, draws.given_space)


def table_of(draws: Draws) -> Any:
    """Draws as a frame."""
    return draws.to_pandas()
