"""Questions about no rows: asked of one row in their place, none of which is in the answer.

So no hook need know of batches without rows.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from likeness.core import inputs
from likeness.core.batch import Batch
from likeness.core.draws import Draws
from likeness.core.quiet import filtered
from likeness.core.space import Space
from likeness.numerics.tree import take

V = TypeVar("V", bound=Callable[..., Any])
NONE = slice(0, 0)


def answers_no_rows(verb: V) -> V:
    """A verb that is asked about rows, which then answers about no rows too."""

    @functools.wraps(verb)
    def ask(asked: Any, x: Any = None, *parts: Any, given: Any = None, **options: Any) -> Any:
        if not no_rows(x) or len(inputs.batch_of(asked, x, given)):
            return verb(asked, x, *parts, **_with(options, given))
        stand_in = full_row(asked.space, asked.dtype)
        if asked.given_space is not None:
            stand_in = replace(stand_in, given=full_row(asked.given_space, asked.dtype))
        with filtered("ignore"):  # of what becomes of the row in their place
            return none_of(verb(asked, stand_in, *parts, **options))

    return cast(V, ask)


def no_rows(x: Any) -> bool:
    """Whether these are rows, and none."""
    return hasattr(x, "__len__") and len(x) == 0


def full_row(space: Space, dtype: torch.dtype) -> Batch:
    """One item of which all is known: zeros, of one step where items have lengths."""
    length = torch.ones(1, dtype=torch.int64) if space.ragged else None
    return Batch(torch.zeros(1, *space.layout, dtype=dtype), length=length)


def none_of(answer: Any) -> Any:
    """No row of an answer."""
    if not isinstance(answer, Draws):
        return take(answer, NONE)
    return replace(
        answer,
        x=answer.x[:, NONE],
        length=_rows(answer.length, 1),
        given=None if answer.given is None else answer.given[NONE],
        log_weight=_rows(answer.log_weight, 1),
        ess=_rows(answer.ess, 0),
        path=_rows(answer.path, 2),
        told=_rows(answer.told, 0),
    )


def no_draws(drawn: Draws) -> Draws:
    """None of the items drawn."""
    return replace(
        drawn,
        x=drawn.x[NONE],
        length=_rows(drawn.length, 0),
        given=None if drawn.given is None else drawn.given[NONE],
        path=_rows(drawn.path, 1),
    )


def _rows(t: Tensor | None, axis: int) -> Tensor | None:
    if t is None:
        return None
    return t.narrow(axis, 0, 0)


def _with(options: dict[str, Any], given: Any) -> dict[str, Any]:
    return options if given is None else {**options, "given": given}
