"""`likeness fit`: from data to a saved model."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from likeness.cli import folder, named, options
from likeness.cli.arguments import (
    Device,
    MaxMemory,
    Series,
    Vocabulary,
    Words,
    complete_family,
    complete_option,
)
from likeness.cli.errors import INTERRUPTED, spoken
from likeness.cli.fitted import copies, held_out_score, keep, tell
from likeness.cli.rows import CHECKPOINT, condition_of, keyed
from likeness.cli.text import remark, say, table
from likeness.core.errors import BadConfig, BadData, LikenessError
from likeness.core.words import plural

if TYPE_CHECKING:
    from likeness.core.model import Model
    from likeness.data.parting import Data
    from likeness.data.source import Table
    from likeness.learn.run import Run

SHOWN = 40  # columns
AUTO = "auto"  # learn/auto chooses


@dataclass
class Kept:
    """What the command line needs of a fit beside its model: the Run, once it has made a step."""

    run: Run | None = None


def fit(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA", help="A table (.csv, .parquet), an array, images, text, or a named set."
        ),
    ],
    family: Annotated[
        str,
        typer.Argument(
            metavar="[FAMILY]",
            help="`likeness families` lists them; without one, one that suits the data is taken.",
            autocompletion=complete_family,
        ),
    ] = AUTO,
    family_options: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME=VALUE]...",
            help="Options of the family, such as layers=6 hidden=64,64: `likeness families FAMILY` lists them.",
            autocompletion=complete_option,
        ),
    ] = None,
    budget: Annotated[
        str, typer.Option(help="How long to learn: 2m, 90s, 1h, '500 steps', '10 epochs'.")
    ] = "1m",
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The model's folder; runs/DATA-FAMILY unless told."),
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Of the split, the first weights and the training noise.")
    ] = 0,
    holdout: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=0.9,
            help="Share of rows held out for the score and p-values: 0.1, or what the set holds out.",
        ),
    ] = None,
    given: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN", help="A column to condition on; may be repeated."),
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=TYPE",
            help="real, ordinal, nominal, count, binary, date, skip, or a step such as 0.1.",
        ),
    ] = None,
    series: Series = None,
    words: Words = None,
    vocabulary: Vocabulary = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with a fit that was stopped, to the end that it had."),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Take the place of the model in --out.")
    ] = False,
    max_memory: MaxMemory = None,
    device: Device = "cpu",
) -> None:
    """Fit a family to data and save the model.

    likeness fit data.csv
    likeness fit data.csv flow layers=6 --budget 2m --seed 0 --out runs/flow
    """
    data, family = _in_order(data, family)
    chosen, given_options = _options_of(family, family_options or [])
    types = options.pairs(columns, "--columns")
    place = folder.place(out, data, chosen, resume=resume, overwrite=overwrite)
    if chosen != AUTO:
        options.config(chosen, given_options).bring(named.load)
    _check(budget, device)
    from likeness.core.lock import claim
    from likeness.learn.stop import leaving

    with leaving(), claim(place):
        loaded = _load(data, given or [], types, series=series, words=words, vocabulary=vocabulary)
        loaded = _last_steps(loaded, holdout)
        _tell(loaded)
        _no_constants(loaded)
        if chosen == AUTO:
            chosen, loaded = _suited(loaded)
        kept = Kept()
        model = _learn(
            chosen,
            loaded,
            given_options,
            kept,
            budget=budget,
            seed=seed,
            holdout=holdout,
            out=place,
            resume=resume,
            device=device,
        )
        score = held_out_score(model, kept.run, loaded.test, seed)
        audit = copies(model, kept.run, seed)
        keep(model, place, score, audit, loaded.notes)
    tell(model, place, score, audit, data, holes=not loaded.train.batch.full)


# ---- before --------------------------------------------------------------------------------------


def _in_order(data: str, family: str) -> tuple[str, str]:
    """Data and family, whichever was named first."""
    from likeness.registry.index import read

    families = read()
    if data in families and family not in families and not Path(data).exists():
        if family == AUTO:
            raise BadConfig(
                f"{data} is a family, and there are no data", do="name a file, or a set"
            )
        return (family, data)
    return (data, family)


def _options_of(family: str, words: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """The family and its options, as far as they can be checked before data are read.

    Raises:
        BadConfig: For what is none, and for options without a family.
    """
    if family != AUTO and "=" not in family:
        return options.checked(family, words)
    if family != AUTO or words:
        option = family if family != AUTO else words[0]
        raise BadConfig(
            f"{option!r} is an option of some family, and none is named",
            do="name it before its options: `likeness families` lists them",
        )
    return AUTO, {}


def _suited(loaded: Data) -> tuple[str, Data]:
    """The family that suits the data, and the data with a note that says why."""
    from likeness.learn.auto import choose

    train = cast("Table", loaded.train)
    choice = choose(train.space, train.given_space, len(train))
    say(choice.note)
    return choice.family, replace(loaded, notes=(*loaded.notes, choice.note))


def _check(budget: str, device: str) -> None:
    from likeness.core.devices import device_of
    from likeness.learn.budget import Budget

    Budget.parse(budget)
    device_of(device)


def _load(
    data: str, given: Sequence[str], types: Mapping[str, str], *, series: str | None, **how: Any
) -> Data:
    import likeness as lk

    condition = condition_of(given)
    loaded: Data = lk.load(
        data, given=condition, columns=wanted(types), test=0.0, series=keyed(series), **how
    )
    return loaded


def _last_steps(loaded: Data, holdout: float | None) -> Data:
    """With the last steps of a series alone held out: no other series could be."""
    from likeness.data.options import TEST

    share = TEST if holdout is None else holdout
    train = cast("Table", loaded.train)
    length = train.batch.length
    if length is None or len(length) != 1 or int(length[0]) < 2 or share == 0 or len(loaded.test):
        return loaded
    early, late = train.split_time(share)
    note = f"the last {plural(int(late.batch.present.any(-1).sum()), 'step')} of the series are held out"
    return replace(loaded, train=early, test=late, notes=(*loaded.notes, note))


def _no_constants(loaded: Data) -> None:
    """Refuse columns of one value: they tell nothing, and the density of a real one has no bound.

    Raises:
        BadData: With what leaves them out.
    """
    from likeness.learn.fit import constant_columns

    names = constant_columns(cast("Table", loaded.train))
    if names:
        do = " ".join(f"--columns {shlex.quote(f'{name}=skip')}" for name in names)
        raise BadData(
            f"one value in all rows of {', '.join(map(repr, names))}", do=f"leave that out: {do}"
        )


def wanted(types: Mapping[str, str]) -> dict[str, Any] | None:
    """Types of columns as `load` takes them: a number is the step that a real is rounded to."""
    from likeness.core.space import Real

    read = {name: options.value(word) for name, word in types.items()}
    held = {
        n: Real(resolution=v) if isinstance(v, int | float) and v > 0 else types[n]
        for n, v in read.items()
    }
    return held or None


def _tell(loaded: Data) -> None:
    """What was inferred about the data."""
    say(f"{loaded.name}: {plural(len(loaded.train), 'row')}, {loaded.space.item}")
    rows = list(loaded.space.column_words.items())
    table(
        rows[:SHOWN]
        + ([("...", plural(len(rows) - SHOWN, "more column"))] if len(rows) > SHOWN else [])
    )
    if loaded.given_space is not None:
        say("given:")
        table(list(loaded.given_space.column_words.items()))
    if loaded.space.source == "text":
        say("  note: each character is a symbol: --words 1 takes words instead")
    for note in loaded.notes:
        say(f"  note: {spoken(note)}")


# ---- learning ------------------------------------------------------------------------------------


def _learn(
    family: str,
    loaded: Data,
    family_options: dict[str, Any],
    kept: Kept,
    *,
    resume: bool,
    **how: Any,
) -> Model:
    import likeness as lk

    def watch(run: Run, _event: object) -> None:
        kept.run = run

    try:
        return lk.fit(family, loaded, resume=resume, watch=watch, **how, **family_options)
    except KeyboardInterrupt:
        _stopped(how["out"], kept.run)
        raise typer.Exit(INTERRUPTED) from None
    except SystemExit as stopped:
        _stopped(how["out"], kept.run)
        raise typer.Exit(cast("int", stopped.code)) from None
    except (LikenessError, OSError):
        if kept.run is not None and kept.run.place is not None and kept.run.place.unfinished:
            remark(f"what was learned before is kept in {how['out']}")
        raise


def _stopped(place: Path, run: Run | None) -> None:
    if run is not None and run.done and not (place / CHECKPOINT).exists():
        remark(f"stopped after the fit had ended; its model is in {place}")
    elif run is None or not run.saved:
        remark("stopped before the first step: nothing was learned")
    else:
        steps = plural(run.saved, "step")
        remark(f"stopped after {steps}; what was learned is in {place}. Go on with")
        remark(f"  {_command(place)}")


def _command(place: Path) -> str:
    """The command that goes on: as it was typed, with the folder named."""
    words = [w for w in sys.argv[1:] if w != "--overwrite"]
    named = any(w in {"--out", "-o"} or w.startswith("--out=") for w in words)
    more = [
        *([] if named else ["--out", str(place)]),
        *([] if "--resume" in words else ["--resume"]),
    ]
    return shlex.join(["likeness", *words, *more])
