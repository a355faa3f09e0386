"""The front door: `load`, `fit` and `compare` take what users have, and hand on data that were read.

What is below sees `Data` and `Source`s only. The options of `load` are the fields of `LoadOptions`.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from likeness import registry
from likeness.core.config import Config
from likeness.core.errors import BadConfig
from likeness.core.inputs import whole
from likeness.core.model import Model
from likeness.core.noise import fresh_seed
from likeness.data.load import load_data
from likeness.data.options import LoadOptions
from likeness.data.parting import Data, undivided
from likeness.data.source import Loud, Table
from likeness.learn import auto
from likeness.learn.budget import Budget
from likeness.learn.executor import Event
from likeness.learn.fit import fit_model
from likeness.learn.run import Run
from likeness.registry import index

if TYPE_CHECKING:
    from likeness.evaluate.comparison import Comparison, Progress
    from likeness.evaluate.protocol import Named, Options

Function = Callable[..., Any]


def takes(config: type[Config]) -> Callable[[Function], Function]:
    """The fields of a Config, in place of `**options`, in a function's signature and docstring."""

    def described(function: Function) -> Function:
        signature = inspect.signature(function)
        named = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        fields = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=field.default)
            for name, field in config.model_fields.items()
        ]
        function.__signature__ = signature.replace(parameters=[*named, *fields])  # type: ignore[attr-defined]
        lines = (f"    {name}: {field.description}." for name, field in config.model_fields.items())
        text = inspect.getdoc(function) or ""
        function.__doc__ = text.replace("    **options: fields of the Config.", "\n".join(lines))
        return function

    return described


@takes(LoadOptions)
def load(what: Any, *, given: Any = None, **options: Any) -> Data:
    """Items as training and test parts, by their official split or by hash of (seed, row or group).

    Args:
        what: A name (digits, mnist, moons, ...), a path, an array or tensor, a frame, a dict of
            columns, a list of strings or of arrays of unlike lengths, a Table, a synthetic
            distribution, or a pair (items, given).
        given: What items are conditioned on: names of columns, "label" where a set has labels, or
            an array.
        **options: fields of the Config.

    Raises:
        BadData: One sentence on what cannot be read, where it is, and what to do.
        BadConfig: For an option that does not exist, or options that exclude each other.
    """
    return load_data(what, given, LoadOptions.parse(options))


def fit(
    family: Any,
    data: Any = None,
    *,
    budget: str | int | Budget = "1m",
    seed: int | None = 0,
    holdout: float | None = None,
    given: Any = None,
    out: str | Path | None = None,
    resume: bool = False,
    decisions: dict[str, Any] | None = None,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
    watch: Callable[[Run, Event], None] | None = None,
    progress: bool | None = None,
    max_memory: int | str | None = None,
    **options: Any,
) -> Model:
    """Fit a model of `family` to data: `fit("flow", table)`, or `fit(table)` for a family that suits the data.

    Args:
        family: A family's name, such as "flow": `likeness families` lists them. "auto" takes one
            that suits the data and notes which and why (`learn/auto.py`); so do data alone.
        data: What `lk.load` takes, or what it returned: then its training part is used.
        budget: "2m", "90s", "500 steps", "10 epochs", or a number of steps.
        seed: Of the split, the initial weights, the row order and the training noise; None takes
            fresh entropy.
        holdout: The share of rows held out for validation and p-values; None takes the data's own
            part for choices (`Data.valid`), or a tenth where there is none.
        given: What to condition on, aligned with the rows, or a column's name.
        out: A folder for the model, its metrics and checkpoints.
        resume: Go on from the folder's checkpoint; where that fit is finished, its model is
            returned.
        decisions: Another run's decisions, to be replayed.
        device: Where to compute.
        dtype: The type to compute in; float32 for nets and float64 for closed forms unless told.
        watch: Called with (run, event) after every step.
        progress: Show a bar; None shows one in a terminal.
        max_memory: What reading the data may take, in bytes or as "5GB"; a quarter of the machine's
            memory unless told.
        **options: The family's own options.

    Returns:
        The fitted model.

    Raises:
        BadConfig: For an unknown family or option, or data that the family does not take, with the
            reason.
        BadData: For data that cannot be read, or that hold a column of one value.
    """
    if seed is None:
        chosen_seed = fresh_seed()
    else:
        chosen_seed = whole(seed, "seed", least=None)
    _check_share(holdout)
    if not isinstance(decisions, dict | None):
        raise BadConfig(
            "decisions are a dictionary", do='give run.decisions, or facts["decisions"]'
        )
    name, items = _family_and_data(family, data)
    training = training_data(items, given, max_memory)
    if not isinstance(items, Data):
        _warn(training.notes)
    return fit_model(
        name,
        options,
        training,
        budget=budget,
        seed=chosen_seed,
        holdout=holdout,
        out=out,
        resume=resume,
        decisions=decisions,
        device=device,
        dtype=dtype,
        watch=watch,
        progress=progress,
    )


def compare(
    data: Any,
    families: Sequence[Named] | Named,
    *,
    budget: str | int | Budget,
    seeds: int | Sequence[int] = 3,
    report: str | Path | None = None,
    given: Any = None,
    holdout: float = 0.1,
    progress: Progress = None,
    options: Options | dict[str, Any] | None = None,
    max_memory: int | str | None = None,
) -> Comparison:
    """Fit families to one split with the same seeds and budget, and score all of them alike.

    Beside what was asked for stand always one Gaussian, independent variables, the training rows
    handed out again, and the truth where the data are synthetic. A row that fails at any seed is a
    failed row, with its sentence.

    Args:
        data: What `lk.load` takes or returned.
        families: Names, or pairs (name, options).
        budget: Of every fit: "2m", "500 steps", "10 epochs", or a number of steps.
        seeds: How many, or which: of initial weights, row order, training noise, and of what is
            drawn.
        report: Where to write the page (.html), with a .json file beside it.
        given: What to condition on, as `lk.load` takes it.
        holdout: The share of the training part on which choices rest while learning (early
            stopping, best state).
        progress: True prints a line a fit, a function is called with it; None prints in a terminal.
        options: How to score.
        max_memory: What reading the data may take, as `lk.load` takes it.

    Raises:
        BadConfig: For an unknown family or option, before anything is fitted.
        BadData: For data that cannot be read.
    """
    from likeness.evaluate import comparison, protocol

    scoring = options
    if not isinstance(scoring, protocol.Options):
        scoring = protocol.Options.parse(scoring or {})
    if isinstance(data, Data) and given is not None:
        raise BadConfig("the data are loaded already", do="give `given` to lk.load instead")
    reading = LoadOptions.parse({"n": scoring.rows, "max_memory": max_memory})
    return comparison.compare(
        load_data(data, given, reading),
        families,
        budget=budget,
        seeds=seeds,
        report=report,
        holdout=holdout,
        progress=progress,
        options=scoring,
    )


def training_data(data: Any, given: Any = None, max_memory: int | str | None = None) -> Data:
    """Data whose rows are all there to learn from, but for parts that were held out before.

    Args:
        data: What `lk.load` takes or returned; a Table is taken as it is.
        given: What to condition on, as `lk.load` takes it.
        max_memory: What reading may take.
    """
    if isinstance(data, Table) and given is None:
        return undivided(data)
    return load_data(data, given, LoadOptions.parse({"test": 0.0, "max_memory": max_memory}))


def training_table(data: Any, given: Any = None) -> Table:
    """The rows to learn from of whatever `lk.load` takes or returned."""
    return cast("Table", training_data(data, given).train)


def _check_share(holdout: Any) -> None:
    if holdout is not None and not isinstance(holdout, int | float):
        raise BadConfig(f"holdout={holdout!r} is no share of the rows", do="write holdout=0.1")


def _family_and_data(family: Any, data: Any) -> tuple[str, Any]:
    """A family's name and data, where data may stand alone.

    Raises:
        BadConfig: If there are no data, or no name.
    """
    named = isinstance(family, str) and (
        family == auto.AUTO or family in {*index.read(), *registry.FAMILIES}
    )
    if data is None and named:
        raise BadConfig("there are no data to fit to", do=f"give them: lk.fit({family!r}, data)")
    if data is None:
        return auto.AUTO, family
    if not isinstance(family, str):
        raise BadConfig(
            f"a family is named by a word, and this is of type {type(family).__name__}",
            do='give the name first and data second: lk.fit("flow", data)',
        )
    return family, data


def _warn(notes: Sequence[str]) -> None:
    """Warn of what a user would want to know before the answers: what is left out, or read as something else."""
    for note in Loud.among(notes):
        warnings.warn(note, stacklevel=3)
