"""What users ask with, checked and in a distribution's own terms: items, conditions, evidence, seeds, priors."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from likeness.core.batch import Batch, as_batch, beside, lengths_of, missing
from likeness.core.config import Settings as CoreSettings
from likeness.core.errors import BadConfig, BadData, Unsupported
from likeness.core.hooks import Hooks
from likeness.core.noise import Noise, fresh_seed
from likeness.core.reach import Reached, reached
from likeness.core.space import Space, entry_names
from likeness.numerics import machine

LARGEST = 10**100
BYTES = 8  # of a number that is drawn, at least: its noise and itself


def settings_of(dist: Hooks, settings: Any) -> Any:
    """Settings of this distribution's own class, from None, a dict or those that every distribution takes."""
    if isinstance(settings, dist.Settings):
        return settings
    if isinstance(settings, CoreSettings):
        chosen = settings.model_dump(exclude_unset=True)
    else:
        chosen = settings
    return dist.Settings.parse(chosen or {})


def number_of(dist: Hooks, n: int, rows: int, *, least: int) -> int:
    """How many draws of each row, which the machine must be able to hold.

    Raises:
        BadConfig: If it is no number from the least on, or more than there is memory for.
    """
    n = whole(n, "n", least=least)
    taken = n * max(rows, 1) * math.prod(dist.space.layout) * BYTES
    if taken > (machine.memory() or math.inf):
        do = "draw fewer at once, and go on with first="
        raise BadConfig(f"n={n:,} draws take more memory than the machine has", do=do)
    return n


def effort_of(effort: int | None, *, least: int = 1) -> int | None:
    """Monte-Carlo draws of each row, or steps that refine a code; None for the distribution's own number."""
    if effort is None:
        return None
    return whole(effort, "effort", least=least)


def scoring_seed(seed: int | None) -> int:
    """The seed that was given, or 0: asked twice about the same rows, a verb that draws nothing answers the same."""
    return seed_of(0 if seed is None else seed)


def seed_of(seed: int | None) -> int:
    """The seed that was given, or a fresh one."""
    if seed is None:
        return fresh_seed()
    return whole(seed, "seed", least=None)


def class_weights(dist: Hooks, prior: Any) -> Tensor:
    """A weight for each class (K,), as the user says it.

    Raises:
        BadConfig: If these are not K weights from 0 on, one of them above 0.
    """
    k = (dist.given_space.label if dist.given_space else None) or 1
    try:
        weights = torch.as_tensor(prior, dtype=dist.dtype, device=dist.device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise BadConfig(
            "the prior is no list of numbers", do=f"give {k} weights, one for each class"
        ) from error
    if weights.shape != (k,):
        raise BadConfig(
            f"a prior of {weights.numel()} weights for {k} classes",
            do="give one weight for each class",
        )
    if (
        not bool(torch.isfinite(weights).all())
        or bool((weights < 0).any())
        or float(weights.sum()) <= 0
    ):
        raise BadConfig(
            "the prior's weights are not from 0 on",
            do="give shares of the classes, such as [0.2, 0.8]",
        )
    return weights


def noise_of(dist: Hooks, seed: int, index: Tensor, scope: str) -> Noise:
    """The randomness of these items (B,) under a seed, in the distribution's type and on its device."""
    return Noise(seed, index.to(dist.device), scope=scope, dtype=dist.dtype)


def batch_of(dist: Hooks, x: Any, given: Any) -> Batch:
    """Rows under their condition, checked and within reach."""
    return rows_of(dist, x, given).batch


def rows_of(dist: Hooks, x: Any, given: Any) -> Reached:
    """Rows within reach under their condition, and their values as they came."""
    if x is None:
        x = _unseen(dist, given_of(dist, given))
    space = roomy(dist, dist.space, x)
    rows = as_batch(space, x)
    near = reached(space, rows, dist.extent, dist.dtype, dist.device)
    near.warn(space)
    if given is None:
        condition = _own_condition(dist, x, rows)
    else:
        condition = given_of(dist, given)
    if condition is not None and len(condition) != len(rows):
        raise BadData(
            f"{len(rows)} rows but {len(condition)} conditions", do="give one condition a row"
        )
    need_condition(dist, condition)
    return replace(
        near, batch=replace(near.batch, given=None if dist.given_space is None else condition)
    )


def held(dist: Hooks, batch: Batch) -> Batch:
    """Checked rows and their condition within reach, in the distribution's type."""
    near = reached(dist.space, batch, dist.extent, dist.dtype, dist.device).batch
    if dist.given_space is None or batch.given is None:
        return near
    return replace(near, given=_held_given(dist, batch.given))


def _held_given(dist: Hooks, given: Batch) -> Batch:
    there = reached(dist.condition_space, given, dist.given_extent, dist.dtype, dist.device)
    there.warn(dist.condition_space)
    return there.batch


def need_condition(dist: Hooks, given: Batch | None) -> None:
    """Refuse a question without a condition to a distribution that says nothing without one."""
    if dist.conditional and given is None:
        raise Unsupported("this model needs its condition", do="give it: given=...")


def why_no_future(dist: Hooks) -> str | None:
    """Why nothing can come behind an item, or None where it can."""
    if dist.space.axes[0] != "time" or not (dist.space.ragged or dist.unbounded):
        return "items of one fixed length have nothing behind them; fit on items of any lengths"
    if dist.given_space is not None and dist.given_space.ragged:
        return "what is given goes step by step, and none of it is known of the steps to come"
    return None


def _unseen(dist: Hooks, given: Batch | None) -> Batch:
    """An item of which nothing is known for each condition, one without; as long as it says, or as they come."""
    rows = 1 if given is None else len(given)
    batch = missing(dist.space, rows, torch.zeros(1, dtype=dist.dtype, device=dist.device))
    if not dist.space.ragged:
        return batch
    length = dist.draw_length(noise_of(dist, 0, batch.ids, "blank"), given)
    if length is None:
        return batch
    return replace(batch, length=length)


def roomy(dist: Hooks, space: Space, x: Any) -> Space:
    """The Space, laid out to the longest of these items where the distribution goes on to any length."""
    if not dist.unbounded or space.axes[0] != "time":
        return space
    lengths = lengths_of(space, x)
    if not space.ragged and lengths <= {space.layout[0]}:
        return space
    longest = max({space.layout[0], *lengths})
    return space.model_copy(update={"shape": (None, *space.shape[1:]), "longest": longest})


def _own_condition(dist: Hooks, x: Any, batch: Batch) -> Batch | None:
    """The condition that rows bring along: a Batch's own, or a table's columns of its names."""
    if dist.given_space is None:
        return batch.given
    space = dist.given_space
    if batch.given is not None:
        space = roomy(dist, space, batch.given)
    condition = beside(dist.space, space, x)
    if condition is None:
        condition = batch.given
    if condition is None:
        return None
    return _held_given(dist, condition)


def given_of(dist: Hooks, given: Any) -> Batch | None:
    """A condition, checked and within reach; None stays None."""
    if given is None:
        return None
    return condition_of(dist, given)


def condition_of(dist: Hooks, given: Any) -> Batch:
    """A condition, checked and within reach.

    Raises:
        Unsupported: If the distribution knows of none.
    """
    space = roomy(dist, dist.condition_space, given)
    return _held_given(dist, as_batch(space, given))


def evidence_mask(dist: Hooks, evidence: Any, batch: Batch) -> Tensor:
    """Evidence as a mask (B, *E); entries by name are columns of the last axis, or single entries.

    Raises:
        BadData: If it is neither names nor truth values, or names what is not there or is
            hidden.
    """
    names = (evidence,) if isinstance(evidence, str) else evidence
    if isinstance(names, Sequence) and names and all(isinstance(e, str) for e in names):
        mask = _named_mask(dist, names)
    else:
        mask = _as_mask(evidence)
        if mask.dtype is not torch.bool:
            raise BadData(
                "evidence is neither names nor a mask",
                do="give names of columns, or True for each entry",
            )
    try:
        mask = mask.to(batch.x.device).expand(batch.x.shape)
    except RuntimeError as error:
        shape = " x ".join(map(str, mask.shape))
        wanted = " x ".join(map(str, batch.x.shape[1:]))
        raise BadData(
            f"a mask of {shape} for entries of {wanted}", do="give True or False for each"
        ) from error
    hidden = mask & batch.holes
    if bool(hidden.any()):
        row = int(torch.nonzero(hidden)[0, 0])
        raise BadData(
            "a hidden entry cannot be evidence",
            where=f"row {row}",
            do="leave it out of the evidence",
        )
    return mask


def _named_mask(dist: Hooks, wanted: Sequence[str]) -> Tensor:
    """A mask of the columns of these names, or of the entries."""
    columns = dist.space.names or ()
    if set(wanted) <= set(columns):
        names = columns
    else:
        names = entry_names(dist.space)
    unknown = [e for e in wanted if e not in names]
    if unknown:
        shown = ", ".join((columns or names)[:12]) or "without names"
        raise BadData(f"no column {unknown[0]!r}", do=f"the columns are {shown}")
    mask = torch.tensor([n in wanted for n in names])
    if names is columns or dist.space.ragged:
        return mask
    return mask.reshape(dist.space.layout)


def whole(value: Any, name: str, least: int | None = 0) -> int:
    """A whole number that a user gives, of any type that holds one.

    Raises:
        BadConfig: If it is none, or below the least.
    """
    try:
        number = operator.index(value)
    except TypeError:
        raise BadConfig(
            f"{name}={value!r} is not a whole number", do=f"write {name}=5, say"
        ) from None
    if abs(number) > LARGEST:
        raise BadConfig(f"{name} is a number of more than 100 digits", do=f"write {name}=5, say")
    if least is not None and number < least:
        raise BadConfig(f"{name}={number} is below {least}", do=f"choose {name} >= {least}")
    return number


def _as_mask(evidence: Any) -> Tensor:
    """Truth values as a tensor; anything else as a number, which is no mask."""
    try:
        return torch.as_tensor(
            evidence if isinstance(evidence, Tensor | Sequence | np.ndarray) else 0
        )
    except (TypeError, ValueError, RuntimeError):
        return torch.zeros(1)
