"""`fit_model`: from data that were read to a fitted model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch

from likeness import registry
from likeness.core.config import Settings
from likeness.core.devices import check_dtype, device_of
from likeness.core.errors import BadConfig, BadData
from likeness.core.model import Model
from likeness.core.noise import mix
from likeness.data.parting import Data
from likeness.data.source import Table
from likeness.learn import auto
from likeness.learn.budget import Budget
from likeness.learn.executor import Event
from likeness.learn.progress import bar
from likeness.learn.run import Run

COARSE = 1e-3  # of a column's deviation: what single precision may round its values by
ROOT = 1 / 3  # of a type's largest number: squares of numbers below it have room
HELD_SHARE = 0.1
HELD = 0x5A17  # sets the hash that holds rows out apart from that of a test part


def fit_model(
    family: str,
    options: dict[str, Any],
    data: Data,
    *,
    budget: str | int | Budget = "1m",
    seed: int = 0,
    holdout: float | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    decisions: dict[str, Any] | None = None,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
    watch: Callable[[Run, Event], None] | None = None,
    progress: bool | None = None,
) -> Model:
    """Fit a model of `family` with its `options` to the training part of data; `lk.fit` describes the rest.

    Raises:
        BadConfig: For an unknown family or option, or data that the family does not take, with the
            reason.
        BadData: For data that hold a column of one value.
    """
    table = cast("Table", data.train)
    _check_constants(table)
    train, held = _halves(data, holdout, seed)
    notes = data.notes
    if family == auto.AUTO:
        family, note = _chosen(table, options)
        notes = (*notes, note)

    model = start(family, options, table, seed=seed, device=device, dtype=dtype)
    model.facts = {**getattr(model, "facts", {}), "notes": list(notes)}
    run = Run(model, train, budget, seed, holdout=held, out=out, decisions=decisions, resume=resume)
    with bar(run, family, show=progress) as tick:
        return run.fit(lambda r, e: _watch(r, e, tick, watch))


def _check_constants(table: Table) -> None:
    names = constant_columns(table)
    if names:
        skipped = ", ".join(f"{name!r}: 'skip'" for name in names)
        raise BadData(
            f"one value in all rows of {', '.join(map(repr, names))}",
            do=f"load it without: lk.load(data, columns={{{skipped}}})",
        )


def _halves(data: Data, holdout: float | None, seed: int) -> tuple[Table, Table]:
    """What is learned from, and what choices rest on: the data's own part unless a share is named."""
    table = cast("Table", data.train)
    if holdout is None and data.valid is not None and len(data.valid):
        return table, data.valid
    return parts(table, HELD_SHARE if holdout is None else holdout, seed)


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
    check_dtype(dtype)
    place = device_of(device)
    model = registry.build(family, options, table.space, table.given_space, seed=seed)
    return model.to(device=place, dtype=dtype or _precise_enough(table, model.natural_dtype))


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
