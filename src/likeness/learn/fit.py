"""`fit`: from data to a model in one call."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import torch

from likeness import registry
from likeness.core.config import Settings
from likeness.core.errors import BadConfig, BadData
from likeness.core.inputs import whole
from likeness.core.model import Model
from likeness.core.noise import fresh_seed, mix
from likeness.data.limits import bounded
from likeness.data.load import load
from likeness.data.parting import Data
from likeness.data.source import Loud, Table
from likeness.learn import auto
from likeness.learn.budget import Budget
from likeness.learn.executor import Event
from likeness.learn.progress import bar
from likeness.learn.run import Run
from likeness.registry import index

COARSE = 1e-3  # of a column's deviation: what single precision may round its values by
ROOT = 1 / 3  # of a type's largest number: squares of numbers below it have room
HELD_SHARE = 0.1
HELD = 0x5A17  # sets the hash that holds rows out apart from that of a test part


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
        chosen = fresh_seed()
    else:
        chosen = whole(seed, "seed", least=None)
    family, data = _family_and_data(family, data)
    with bounded(max_memory):
        table, valid, notes = _read(data, given)
    if names := constant_columns(table):
        do = (
            "load it without: lk.load(data, columns={"
            + ", ".join(f"{name!r}: 'skip'" for name in names)
            + "})"
        )
        raise BadData(f"one value in all rows of {', '.join(map(repr, names))}", do=do)
    _say(() if isinstance(data, Data) else notes)
    if holdout is None and valid is not None:
        train = table
        held = valid
    else:
        train, held = parts(table, HELD_SHARE if holdout is None else holdout, chosen)
    if family == auto.AUTO:
        family, note = _chosen(table, options)
        notes = (*notes, note)
    model = start(family, options, table, seed=chosen, device=device, dtype=dtype)
    model.facts = {**getattr(model, "facts", {}), "notes": list(notes)}
    run = Run(
        model, train, budget, chosen, holdout=held, out=out, decisions=decisions, resume=resume
    )
    with bar(run, family, show=progress) as tick:
        return run.fit(lambda r, e: _watch(r, e, tick, watch))


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


def _chosen(table: Table, options: dict[str, Any]) -> tuple[str, str]:
    """The family that suits the data, and the note that says why.

    Raises:
        BadConfig: If options were given, which belong to one family.
    """
    if options:
        raise BadConfig(
            f"{next(iter(options))!r} is an option of some family, and none is named",
            do='name it: lk.fit("flow", data, ...)',
        )
    choice = auto.choose(table.space, table.given_space, len(table))
    return choice.family, choice.note


def start(
    family: str,
    options: dict[str, Any],
    table: Table,
    *,
    seed: int = 0,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
) -> Model:
    """A new model for a table's Spaces, on its device, in its type.

    Raises:
        BadConfig: For an unknown family or option, or data that the family does not take.
        BadData: For weights that are no weights.
    """
    _refuse_reserved(options)
    _check_weights(table)
    model = registry.build(family, options, table.space, table.given_space, seed=seed)
    return model.to(
        device=torch.device(device), dtype=dtype or _precise_enough(table, model.natural_dtype)
    )


def _check_weights(table: Table) -> None:
    """Refuse weights of which one is below 0 or no finite number, or all are 0."""
    weight = table.batch.weight
    if weight is None:
        return
    wrong = ~torch.isfinite(weight) | (weight < 0)
    if bool(wrong.any()):
        row = int(torch.nonzero(wrong)[0])
        raise BadData(
            f"the weight {float(weight[row]):g} is no finite number from 0 on",
            where=f"row {row}",
            do="give weights from 0 on",
        )
    if not bool((weight > 0).any()):
        raise BadData("every weight is 0", do="give weights above 0 to the rows that count")


def _precise_enough(table: Table, natural: torch.dtype) -> torch.dtype:
    """Double precision where single would round a column's values by more than a share of their spread.

    And where it could not hold their squares.
    """
    space = table.space
    if natural is torch.float64 or all(v.type != "real" for v in space.variables):
        return natural
    for batch in table.chunks(65536):
        real = torch.tensor([v.type == "real" for v in space.columns])
        cells = torch.tensor([getattr(v, "resolution", None) or torch.inf for v in space.columns])
        if _narrow(table):
            x = batch.x.double().unsqueeze(-1)
        else:
            x = batch.x.double()
        known = batch.present
        if _narrow(table):
            known = known.unsqueeze(-1)
        x = x.flatten(0, -2)
        known = known.flatten(0, -2)
        count = known.sum(0).clamp(min=1)
        mean = (x * known).sum(0) / count
        spread = ((x - mean).square() * known).sum(0).div(count).sqrt()
        largest = (x.abs() * known).amax(0)
        step = largest * torch.finfo(natural).eps
        rounded = real & (spread > 0) & ((step > COARSE * spread) | (step > cells / 4))
        if bool(rounded.any()) or bool((largest > torch.finfo(natural).max ** ROOT).any()):
            return torch.float64
    return natural


def constant_columns(table: Table) -> list[str]:
    """The columns of a table that hold one value: they tell nothing, and the density of a real one has no bound."""
    space = table.space
    batch = table.batch
    if (
        space.source != "table"
        or space.names is None
        or space.ragged
        or len(space.shape) != 1
        or len(table) < 2
    ):
        return []
    low = batch.x.masked_fill(~batch.present, torch.inf).amin(0)
    high = batch.x.masked_fill(~batch.present, -torch.inf).amax(0)
    return [name for name, same in zip(space.names, (low >= high).tolist(), strict=True) if same]


def _narrow(table: Table) -> bool:
    return table.space.ragged and len(table.space.shape) == 1


def parts(table: Table, holdout: float, seed: int) -> tuple[Table, Table]:
    """What is learned from, and what choices and p-values rest on.

    Not by the seed's own hash: where that chose a test part, it would find nothing left to hold
    out. Of two rows none is held out, since one alone teaches nothing; series teach by their steps.
    """
    train, held = table.split(holdout, mix(seed, HELD))
    if len(train) < 2 <= len(table) and not table.space.ragged:
        return table.split(0.0)
    return train, held


def training_table(data: Any, given: Any = None) -> Table:
    """The rows to learn from: a Table as it is, Data's training part, or whatever `load` reads."""
    return _read(data, given)[0]


def _read(data: Any, given: Any = None) -> tuple[Table, Table | None, tuple[str, ...]]:
    """The rows to learn from, those for choices where the data have a part of them, and what was seen on the way."""
    if isinstance(data, Table) and given is None:
        return data, None, ()
    loaded = load((data, given) if isinstance(data, Table) else data, **_asked(data, given))
    if loaded.valid is not None and len(loaded.valid):
        valid = loaded.valid
    else:
        valid = None
    return cast("Table", loaded.train), valid, loaded.notes


def _asked(data: Any, given: Any) -> dict[str, Any]:
    """What `load` is to be told: nothing is kept for a test, where that was not done before."""
    held = {} if isinstance(data, Data) else {"test": 0.0}
    if isinstance(data, Table):
        return held
    return {**held, "given": given}


def _say(notes: Sequence[str]) -> None:
    """Warn of what a user would want to know before the answers: what is left out, or read as something else."""
    for note in Loud.among(notes):
        warnings.warn(note, stacklevel=3)


def _refuse_reserved(options: dict[str, Any]) -> None:
    taken = set(options) & set(Settings.reserved)
    if taken:
        raise BadConfig(f"{taken.pop()!r} is not an option of a family", do="give it to fit itself")


def _watch(
    run: Run,
    event: Event,
    tick: Callable[[Run, Event], None],
    watch: Callable[[Run, Event], None] | None,
) -> None:
    tick(run, event)
    if watch is not None:
        watch(run, event)
