"""What every row of a comparison shares: the split, the seeds, the budget, the way of scoring; and who takes part."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from likeness import __version__, registry
from likeness.core.batch import Batch
from likeness.core.config import Config, option
from likeness.core.distribution import Distribution
from likeness.core.errors import BadConfig
from likeness.core.noise import fresh_seed, mix
from likeness.data.parting import Data
from likeness.data.source import Source
from likeness.learn.budget import Budget
from likeness.learn.fit import HELD

Role = Literal["family", "baseline", "truth"]
Named = str | tuple[str, dict[str, Any]]


class Options(Config):
    """How a comparison scores; none of it changes how a family learns."""

    rows: int = option(10_000, "rows drawn from a synthetic distribution", ge=10)
    items: int = option(2000, "held-out items that are scored, evenly spaced", ge=10)
    draws: int = option(
        1000, "items drawn from each model, and as many held-out ones beside them", ge=10
    )
    effort: int | None = option(
        None, "Monte-Carlo draws behind each log p; none for a family's own number", ge=1
    )
    neighbours: int = option(5, "neighbours of precision, recall, density and coverage", ge=1)
    batch: int = option(1000, "items of the large batch of the speed test", ge=1)
    pairs: int = option(8, "closest pairs of generated and training items that are kept", ge=1)
    level: float = option(0.95, "probability with which an interval covers", gt=0, lt=1)
    device: str = option("cpu", "where to compute")
    pictures: int = option(500, "items kept of each model for pictures", ge=1)


@dataclass(frozen=True, eq=False)
class Split:
    """The parts that all rows share.

    Args:
        name: What reports call the data.
        train: What is learned from.
        valid: What choices rest on while learning, or None.
        test: What is scored, items of which at most `Options.items` count.
        truth: The law that the rows were drawn from, or None.
        notes: What the reader of the data saw.
    """

    name: str
    train: Source
    valid: Source | None
    test: Batch
    truth: Distribution | None
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Entrant:
    """A row to be.

    Args:
        name: What it is called, once among all.
        role: A family that was asked for, a baseline, or the truth.
        family: The family's name, or None for a law that is not fitted.
        options: The family's options.
        title: A few words.
        law: (train) -> the law, where nothing is fitted.
    """

    name: str
    role: Role
    family: str | None
    options: dict[str, Any]
    title: str
    law: Callable[[Source], Distribution] | None = None


def split_of(data: Data, holdout: float, seed: int, options: Options) -> Split:
    """One split for all: the data's own test part, and `holdout` of the rest for choices."""
    train, valid = _halves(data, holdout, seed)
    test = data.test.batch
    places = torch.linspace(0, len(test) - 1, min(len(test), options.items)).round().long()
    return Split(data.name, train, valid, test[places], data.truth, data.notes)


def _halves(data: Data, holdout: float, seed: int) -> tuple[Source, Source | None]:
    if data.valid is not None:
        return data.train, data.valid
    if holdout == 0:
        return data.train, None
    return data.train.split(holdout, mix(seed, HELD))


def seeds_of(seeds: int | Sequence[int] | None) -> tuple[int, ...]:
    """0..n-1, or those that were named.

    Raises:
        BadConfig: If there is none.
    """
    if seeds is None:
        return (fresh_seed(),)
    if isinstance(seeds, int):
        chosen = tuple(range(seeds))
    else:
        chosen = tuple(seeds)
    if not chosen:
        raise BadConfig("a comparison needs a seed", do="give seeds=3")
    return chosen


def entrants(families: Sequence[Named] | Named, split: Split) -> list[Entrant]:
    """The truth where it is known, the baselines, and the families that were asked for, each once.

    Raises:
        BadConfig: For a family or an option that does not exist: better before an hour of fitting
            than after.
    """
    from likeness.evaluate.baselines import Resampled  # itself a law over the split

    first = [_entrant(name, {}, "baseline") for name in ("gaussian", "independent")]
    resampled = Entrant(
        "resampled", "baseline", None, {}, "Training rows handed out again", Resampled
    )
    rest = [_entrant(name, chosen, "family") for name, chosen in _pairs(families)]
    found = [*rest, *first, resampled]
    if split.truth is not None:
        truth = split.truth
        found.append(
            Entrant(
                "truth",
                "truth",
                None,
                {},
                "The distribution that the data were drawn from",
                lambda _train: truth,
            )
        )
    return _named_once(found)


def _pairs(families: Sequence[Named] | Named) -> list[tuple[str, dict[str, Any]]]:
    """Names and options, of one family or of several."""
    if isinstance(families, str):
        return [(families, {})]
    if isinstance(families, tuple) and len(families) == 2 and isinstance(families[1], dict):
        return [(str(families[0]), families[1])]
    return [
        pair
        for family in families
        for pair in ([(family, {})] if isinstance(family, str) else [family])
    ]


def _entrant(name: str, options: dict[str, Any], role: Role) -> Entrant:
    family = registry.family(name)
    family.Config.parse(options)
    return Entrant(name, role, name, options, registry.CARDS[name].title)


def _named_once(found: list[Entrant]) -> list[Entrant]:
    """Equal entrants once, as baselines if they are that; unlike ones of one family told apart by their options."""
    kept: list[Entrant] = []
    for entrant in found:
        same = next((i for i, k in enumerate(kept) if _key(k) == _key(entrant)), None)
        if same is None:
            kept.append(entrant)
        elif entrant.role == "baseline":
            kept[same] = entrant
    names = [k.name for k in kept]
    return [
        replace(k, name=_long_name(k)) if names.count(k.name) > 1 and k.options else k for k in kept
    ]


def _key(entrant: Entrant) -> tuple[str, str]:
    return entrant.name, repr(sorted(entrant.options.items()))


def _long_name(entrant: Entrant) -> str:
    return f"{entrant.name} {', '.join(f'{k}={v}' for k, v in entrant.options.items())}"


def facts(
    split: Split, seeds: tuple[int, ...], budget: str | int | Budget, options: Options
) -> dict[str, Any]:
    """The protocol as reports and JSON hold it: the machine without its name."""
    return {
        "data": _data_facts(split),
        "seeds": list(seeds),
        "budget": str(Budget.parse(budget)),
        "scoring": options.model_dump(),
        "versions": {
            "likeness": __version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
        "machine": machine(options.device),
    }


def _data_facts(split: Split) -> dict[str, Any]:
    return {
        "name": split.name,
        "train": len(split.train),
        "valid": 0 if split.valid is None else len(split.valid),
        "test": len(split.test),
        "hash": split.train.hash(),
        "space": shape_in_words(split.train),
        "measure": split.train.space.measure,
        "notes": [*split.notes, *_repeated(split)],
    }


def machine(device: str) -> dict[str, Any]:
    """The kind of machine, and nothing that tells whose."""
    found: dict[str, Any] = {
        "system": platform.system(),
        "processor": platform.machine(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": device,
    }
    return found | (
        {"gpu": torch.cuda.get_device_name(device)} if device.startswith("cuda") else {}
    )


def shape_in_words(source: Source) -> str:
    """An item's sizes and types."""
    space = source.space
    sizes = " x ".join("any" if s is None else str(s) for s in space.shape)
    if source.given_space is None:
        given = ""
    else:
        given = ", given " + " x ".join(
            "any" if s is None else str(s) for s in source.given_space.shape
        )
    return f"{sizes} of {', '.join(sorted({v.type for v in space.variables}))}{given}"


def _repeated(split: Split) -> list[str]:
    """Real columns whose values repeat: a density may grow without bound there."""
    space = split.train.space
    if space.ragged or len(space.shape) != 1:
        return []
    x = split.train.batch.x
    names = space.names or tuple(f"x{i}" for i in range(space.width))
    found = [
        n
        for n, v, column in zip(names, space.columns, x.T, strict=True)
        if not v.counted and _repeats(column)
    ]
    if not found:
        return []
    return [
        f"{', '.join(found)} repeat values, where log p is unbounded: set a resolution to compare bits"
    ]


def _repeats(column: Tensor) -> bool:
    return len(column.unique()) < 0.9 * len(column)
