"""What is learned from and what it is tested on: parts by hash, by time or by an official split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from likeness.core.batch import Batch
from likeness.core.errors import BadConfig, BadData
from likeness.core.noise import mix
from likeness.core.overview import Overview, Shown
from likeness.core.space import Space
from likeness.data import images
from likeness.data.images import Dynamic
from likeness.data.options import TEST, Binarize
from likeness.data.source import Reading, Source, Table


@dataclass(frozen=True, eq=False, repr=False)
class Data(Shown):
    """What is learned from, and what it is tested on.

    Args:
        name: What reports call it.
        train: The rows to learn from.
        test: The rows held out for the last word.
        valid: The rows held out for choices, where the set has them or they were asked for.
        notes: What inference saw and did, a sentence each.
        labels: The labels of each part's rows, int64 (N,), where they were offered and not asked
            for; -1 is missing.
        label_space: The Space of those labels.
        truth: The distribution that the rows were drawn from, where it is known.
    """

    name: str
    train: Source
    test: Table
    valid: Table | None = None
    notes: tuple[str, ...] = ()
    labels: Mapping[str, Tensor] = field(default_factory=dict)
    label_space: Space | None = None
    truth: Any = None

    @property
    def space(self) -> Space:
        """What an item is."""
        return self.train.space

    @property
    def given_space(self) -> Space | None:
        """What is given, if anything."""
        return self.train.given_space

    @property
    def parts(self) -> dict[str, Source]:
        """The parts by name."""
        held: dict[str, Source] = {} if self.valid is None else {"valid": self.valid}
        return {"train": self.train, **held, "test": self.test}

    def __len__(self) -> int:
        """The number of rows in all parts."""
        return sum(map(len, self.parts.values()))

    def overview(self) -> Overview:
        """The parts and their sizes, what an item is, and what was noticed."""
        facts = {part: f"{len(rows):,} rows" for part, rows in self.parts.items()}
        facts["items"] = self.space.item
        if self.label_space is not None:
            facts["label"] = _aside(self.label_space)
        facts |= {f"note {i}": note for i, note in enumerate(self.notes, 1)}
        return Overview(f"Data: {self.name}", facts)

    def __str__(self) -> str:
        """The name, the sizes, the Space and the notes, a line each."""
        sizes = ", ".join(f"{len(part)} {name}" for name, part in self.parts.items())
        shape = " x ".join("any" if s is None else str(s) for s in self.space.shape)
        kinds = ", ".join(sorted({v.type for v in self.space.variables}))
        aside = () if self.label_space is None else (_aside(self.label_space),)
        return "\n".join([f"{self.name}: {sizes}; {shape} of {kinds}", *aside, *self.notes])


def _aside(space: Space) -> str:
    name = (space.names or ("label",))[0]
    return f"the label {name!r} of {space.label} classes is kept aside: given={name!r} conditions on it"


def undivided(table: Table) -> Data:
    """All rows of a table to learn from, and none held out."""
    nothing = torch.zeros(0, dtype=torch.int64)
    return Data(table.name, table, table.take(nothing))


def alone(reading: Reading) -> bool:
    """Whether there is one series alone, whose last steps can be held out in place of rows."""
    table = reading.parts.get("all")
    if table is None or table.space.source == "text":
        steps = None
    else:
        steps = table.batch.length
    return steps is not None and len(steps) == 1 and int(steps[0]) > 1


def cut(
    reading: Reading, name: str, test: float | None, valid: float, seed: int, timed: bool
) -> Data:
    """The parts of a Reading: its own, or shares of its rows by hash, of its steps where `timed`.

    Raises:
        BadData: If there is one row alone.
        BadConfig: If an official split is to be split again.
    """
    parts = dict(reading.parts)
    share = TEST if test is None else test

    def halves(table: Table, held: float, seed: int) -> tuple[Table, Table]:
        if timed:
            return table.split_time(held)
        return table.split(held, seed)

    if "all" in parts:
        if len(parts["all"]) < 2 and not timed:
            raise BadData("one row alone teaches nothing", where=name, do="give at least two rows")
        train, held = halves(parts["all"], share, seed)
        parts = {"train": train, "test": held}
    elif test:
        raise BadConfig("the set has an official split", where=name, do="leave test= out")
    if valid > 0 and "valid" not in parts:
        parts["train"], parts["valid"] = halves(parts["train"], valid, mix(seed, 1))
    labels = {}
    label_space = None
    if reading.aside is not None:
        label_space = parts["train"].given_space
        labels = {part: _codes(table.batch.condition) for part, table in parts.items()}
        parts = {
            part: replace(t, batch=t.batch.given_as(None), given_space=None)
            for part, t in parts.items()
        }
    return Data(
        name,
        parts["train"],
        parts["test"],
        parts.get("valid"),
        reading.notes,
        labels,
        label_space,
        reading.truth,
    )


def _codes(given: Batch) -> Tensor:
    codes = given.x[:, 0].long()
    if given.observed is None:
        return codes
    return codes.masked_fill(~given.observed[:, 0], -1)


def binarized(data: Data, how: Binarize | None, seed: int) -> Data:
    """Images with black and white pixels in place of levels.

    Raises:
        BadConfig: If the items are no images of levels.
    """
    if how is None:
        return data
    variable = data.space.variables[0]
    if (
        variable.type != "ordinal"
        or not data.space.homogeneous
        or how not in {"dynamic", "threshold"}
    ):
        raise BadConfig(
            f"binarize={how!r} is not for these items",
            do='use "dynamic" or "threshold" for images of levels',
        )
    grey = [part for part in (data.train, data.valid, data.test) if isinstance(part, Table)]
    if how == "threshold":
        train, *held = map(images.threshold, grey)
        note = "pixels above half of the top level are white"
        return _with(data, train, held, note)
    drawn = [Dynamic(part, mix(seed, i)) for i, part in enumerate(grey)]
    note = "pixels are drawn black or white by their level: anew each epoch in training, once for the held-out parts"
    return _with(data, drawn[0], [d.fixed() for d in drawn[1:]], note)


def _with(data: Data, train: Source, held: Sequence[Table], note: str) -> Data:
    valid = held[0] if len(held) > 1 else None
    return replace(data, train=train, valid=valid, test=held[-1], notes=(*data.notes, note))
