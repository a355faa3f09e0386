"""One idiom for every question: columns by name are asked for, fixed, or hidden.

query(distribution, "log_prob", evidence={"wet": 1}, given={"rain": 0})     log p(wet = 1 | rain = 0)
query(distribution, "sample", evidence={"wet": 1}, n=100)                   the rest, given wet = 1
query(distribution, "classify", evidence={"wet": 1}, missing=["rain"])      p(rain | wet = 1)
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from likeness.core.answers import Kind, LogProb, Mode, Posterior
from likeness.core.batch import Batch, as_batch, beside, missing
from likeness.core.distribution import Distribution
from likeness.core.draws import Draws
from likeness.core.errors import BadConfig, BadData, Unsupported
from likeness.core.face import callable_module
from likeness.core.inputs import whole
from likeness.core.noise import fresh_seed
from likeness.core.space import Space, Variable, vector
from likeness.core.space import entry_names as names_of
from likeness.data import tables

Want = Literal["sample", "log_prob", "complete", "mode", "classify", "anomaly_score", "p_value"]
Names = str | Sequence[str]
STATE_ROWS = 1 << 14  # rows that are asked about at a time, one for each state of a column


@dataclass(frozen=True, eq=False)
class Asked:
    """A question, its names resolved.

    Args:
        law: The distribution that is asked.
        batch: The rows: known columns hold values, all others are hidden.
        fixed: Columns of x that stand behind the bar, bool (*E).
        named: Entries of x that `missing` names, as flat positions.
        given: Values of the distribution's own condition, a row each, or None.
        blank: Whether no column of x is known.
        n: Draws wanted.
        seed: Of what is drawn.
        effort: Monte-Carlo draws of each row, or None.
        settings: How to ask.
    """

    law: Distribution
    batch: Batch
    fixed: Tensor
    named: tuple[int, ...]
    given: Batch | None
    blank: bool
    n: int
    seed: int
    effort: int | None
    settings: Any


def query(
    law: Distribution,
    want: Want,
    given: Any = None,
    evidence: Any = None,
    missing: Names | None = None,
    *,
    n: int = 1,
    seed: int | None = None,
    effort: int | None = None,
    settings: Any = None,
) -> Draws | LogProb | Mode | Posterior | Tensor:
    """Ask a distribution about columns by name; whatever is neither in `evidence` nor in `given` is hidden.

    Args:
        law: A fitted model, a world, or any other Distribution.
        want: "sample" and "complete" draw what is hidden; "log_prob" is log p(evidence | given),
            what is hidden summed out; "mode" fills in the most probable values; "classify" gives
            p(y | evidence) for the label that the distribution is conditioned on, or for the one discrete
            column that `missing` names; "anomaly_score" and "p_value" say how strange the evidence
            is.
        given: {name: value} of what the distribution is conditioned on, and of columns that stand behind the
            bar; or, as any verb takes it, the values of the distribution's own condition.
        evidence: {name: value or list of values}, or whole rows: a frame, an array, a Batch.
        missing: Columns to hide, where the evidence is whole rows; the column asked about, in
            "classify".
        n: Draws of each row.
        seed: Of what is drawn; None takes fresh entropy.
        effort: Monte-Carlo draws of each row; None is the distribution's own number.
        settings: How to ask, as any verb takes it.

    Returns:
        What the verb returns: Draws, LogProb, Mode, Posterior, or a Tensor (B,).

    Raises:
        Unsupported: If the distribution cannot answer, with the reason.
        BadConfig: For an unknown word or name.
        BadData: For values that the columns do not hold.
    """
    if want not in _ANSWERS:
        raise BadConfig(
            f"there is no question {want!r}", do=f"ask one of {', '.join(get_args(Want))}"
        )
    importlib.import_module(
        "likeness.routes"
    )  # registers ways of answering what a distribution has no hook for
    if seed is None:
        chosen = fresh_seed()
    else:
        chosen = whole(seed, "seed", least=None)
    return _ANSWERS[want](_resolved(law, given, evidence, missing, n, chosen, effort, settings))


# ---- names to rows -------------------------------------------------------------------------------


def _resolved(
    law: Distribution,
    given: Any,
    evidence: Any,
    hidden: Names | None,
    n: int,
    seed: int,
    effort: int | None,
    settings: Any,
) -> Asked:
    # Columns of x behind the bar, and the model's own condition, apart from each other.
    own, condition = _parted(law, given)
    if given is None:
        condition = _told(law, evidence)
    batch = _rows(law.space, evidence, own)
    # What is asked for is hidden in the rows.
    named = _positions(law.space, _listed(hidden))
    _no_overlap(law.space, evidence, own, named)
    if named:
        batch = batch.hide(_mask(law.space, named))
    # One row beside many is repeated, and the columns behind the bar are marked.
    batch, told = _aligned(batch, condition)
    fixed = _mask(law.space, _positions(law.space, tuple(own)))
    blank = not bool(batch.present.any())
    return Asked(law, batch, fixed, named, told, blank, n, seed, effort, settings)


def _listed(hidden: Names | None) -> tuple[str, ...]:
    """The names of columns to hide."""
    if hidden is None:
        return ()
    if isinstance(hidden, str):
        return (hidden,)
    try:
        return tuple(hidden)
    except TypeError as error:
        raise BadConfig(
            f"missing={hidden!r} names no columns", do="write missing='age' or missing=['age']"
        ) from error


def _told(law: Distribution, evidence: Any) -> Batch | None:
    """The distribution's condition where whole rows bring it along; columns by name are what they are named."""
    whole = (
        law.given_space is not None and evidence is not None and not isinstance(evidence, Mapping)
    )
    if whole and law.given_space is not None:
        return beside(law.space, law.given_space, evidence)
    return None


def _parted(law: Distribution, given: Any) -> tuple[dict[str, Any], Batch | None]:
    """What of `given` are columns of x, and the distribution's own condition."""
    if given is None:
        return {}, None
    if not isinstance(given, Mapping):
        if law.given_space is None:
            raise Unsupported(
                "this model was fitted without `given`", do="name columns of x: given={name: value}"
            )
        return {}, as_batch(law.given_space, given)
    x_names = names_of(law.space)
    if law.given_space is not None:
        c_names = names_of(law.given_space, "given")
    else:
        c_names = ()
    # A name is one of x's columns or one of the condition's; columns of x come behind the bar.
    _known([k for k in given if k not in c_names], x_names, c_names)
    condition = {k: v for k, v in given.items() if k in c_names}
    own = {k: v for k, v in given.items() if k not in c_names}
    return own, _from_names(
        law.given_space, condition, "given"
    ) if condition and law.given_space else None


def _rows(space: Space, evidence: Any, own: dict[str, Any]) -> Batch:
    """The rows that evidence and columns behind the bar make up."""
    if evidence is None or isinstance(evidence, Mapping):
        values = {**(evidence or {}), **own}
        _known(list(values), names_of(space), ())
        if values:
            return _from_names(space, values)
        return missing(space, 1, torch.zeros(1, dtype=torch.float64))
    batch = as_batch(space, evidence)
    if own:
        return _overlaid(space, batch, own)
    return batch


def _overlaid(space: Space, batch: Batch, own: dict[str, Any]) -> Batch:
    """Whole rows with some columns set."""
    # Values that are set win over those of the row.
    over = _from_names(space, own)
    if len(over) == 1:
        over = over.repeat(len(batch))
    x = torch.where(over.present, over.x.to(batch.x), batch.x)
    return Batch(
        x, batch.present | over.present, batch.length, batch.weight, batch.given, batch.index
    )


def _from_names(space: Space, values: Mapping[str, Any], prefix: str = "x") -> Batch:
    """Rows from {name: value or values}, hidden where nothing is said."""
    import pandas as pd

    if space.ragged:
        raise Unsupported("items of unlike lengths have no columns to name", do="give whole items")
    names = names_of(space, prefix)
    # Scalars stand for every row; lists give the number of rows.
    sizes = {len(v) for v in values.values() if np.ndim(v) > 0}
    if len(sizes) > 1:
        raise BadData(
            f"columns of {' and of '.join(map(str, sorted(sizes)))} values",
            do="give one value a row in each",
        )
    rows = sizes.pop() if sizes else 1
    # The named columns as a table of their own, read as any table is.
    at = [i for i, n in enumerate(names) if n in values]
    told = tuple(names[i] for i in at)
    variables = _variables(space)
    frame = pd.DataFrame({n: _column(values[n], rows) for n in told})
    if space.written and len(space.shape) == 1:
        forms = tuple(space.written[i] for i in at)
    else:
        forms = None
    own = vector(len(at), tuple(variables[i] for i in at), told).model_copy(
        update={"written": forms}
    )
    batch = tables.encode(own, frame)
    # Their values at their places among all entries, all others hidden.
    x = torch.zeros(rows, space.dims, dtype=torch.float64)
    known = torch.zeros(rows, space.dims, dtype=torch.bool)
    x[:, at] = batch.x.double()
    known[:, at] = batch.present
    return Batch(x.reshape(rows, *space.layout), known.reshape(rows, *space.layout))


def _column(value: Any, rows: int) -> list[Any]:
    if value is None:
        return [np.nan] * rows
    if np.ndim(value) > 0:
        return np.asarray(value).tolist()
    return [value] * rows


def _variables(space: Space) -> tuple[Variable, ...]:
    return space.columns * (space.dims // space.width)


def _known(asked: Sequence[str], names: Sequence[str], others: Sequence[str]) -> None:
    for name in asked:
        if name not in names:
            shown = [*names[:12], *(["..."] if len(names) > 12 else []), *others]
            raise BadConfig(
                f"no column {name!r}", do=f"the columns are {', '.join(shown) or 'without names'}"
            )


def _positions(space: Space, asked: Sequence[str]) -> tuple[int, ...]:
    names = names_of(space)
    _known(asked, names, ())
    return tuple(names.index(a) for a in asked)


def _mask(space: Space, positions: Sequence[int]) -> Tensor:
    mask = torch.zeros(space.dims, dtype=torch.bool)
    mask[list(positions)] = True
    return mask.reshape(space.layout)


def _no_overlap(space: Space, evidence: Any, own: dict[str, Any], named: tuple[int, ...]) -> None:
    """A column is said once: known, behind the bar, or missing."""
    told = dict(evidence) if isinstance(evidence, Mapping) else {}
    twice = [k for k in own if k in told] + [
        names_of(space)[i] for i in named if names_of(space)[i] in {**told, **own}
    ]
    if twice:
        raise BadConfig(
            f"the column {twice[0]!r} is named twice", do="fix it, condition on it, or hide it"
        )


def _aligned(batch: Batch, given: Batch | None) -> tuple[Batch, Batch | None]:
    """One row beside many is repeated."""
    if given is None or len(given) == len(batch):
        return batch, given
    if len(batch) == 1:
        return batch.repeat(len(given)), given
    if len(given) == 1:
        return batch, given.repeat(len(batch))
    raise BadData(f"{len(batch)} rows but {len(given)} conditions", do="give one condition a row")


# ---- the answers ---------------------------------------------------------------------------------


def _sample(asked: Asked) -> Draws:
    if not asked.blank:
        return _complete(asked)
    return asked.law.sample(asked.n, given=asked.given, seed=asked.seed, settings=asked.settings)


def _complete(asked: Asked) -> Draws:
    return asked.law.complete(
        asked.batch, n=asked.n, given=asked.given, seed=asked.seed, settings=asked.settings
    )


def _log_prob(asked: Asked) -> LogProb:
    scored = asked.batch.present & ~asked.fixed
    if not bool(scored.any()):
        raise BadConfig(
            "log_prob of what?", do="name what is asked about as evidence={name: value}"
        )
    evidence = asked.fixed if bool(asked.fixed.any()) else None
    return asked.law.log_prob(
        asked.batch,
        given=asked.given,
        evidence=evidence,
        effort=asked.effort,
        seed=asked.seed,
        settings=asked.settings,
    )


def _mode(asked: Asked) -> Mode:
    return asked.law.mode(asked.batch, given=asked.given, settings=asked.settings)


def _anomaly_score(asked: Asked) -> Tensor:
    return asked.law.anomaly_score(
        asked.batch, given=asked.given, seed=asked.seed, settings=asked.settings
    )


def _p_value(asked: Asked) -> Tensor:
    return asked.law.p_value(
        asked.batch, given=asked.given, seed=asked.seed, settings=asked.settings
    )


def _classify(asked: Asked) -> Posterior:
    if len(asked.named) == 1:
        return _of_column(asked, asked.named[0])
    if asked.named:
        raise Unsupported("classes of several columns at once", do="name one column as missing")
    return asked.law.classify(
        asked.batch, effort=asked.effort, seed=asked.seed, settings=asked.settings
    )


def _of_column(asked: Asked, position: int) -> Posterior:
    """p(column = k | the rest of the evidence), by log p(column = k, evidence) for every k."""
    # log p(column = k, evidence) for every state k, some states at a time.
    variable = _variables(asked.law.space)[position]
    if not np.isfinite(variable.states):
        raise Unsupported(
            f"{names_of(asked.law.space)[position]!r} takes infinitely many values",
            do="ask for samples of it",
        )
    states = int(variable.states)
    at = _mask(asked.law.space, (position,))
    size = max(1, STATE_ROWS // max(1, len(asked.batch)))
    parts = torch.arange(states).split(size)
    scored = [_with_states(asked, at, codes) for codes in parts]
    if all(s.kind is Kind.EXACT for s in scored):
        kind = Kind.EXACT
    else:
        kind = Kind.ESTIMATE
    # (K, B) -> (B, K), normalised over the states.
    table = torch.cat(
        [s.value.reshape(len(k), len(asked.batch)) for s, k in zip(scored, parts, strict=True)]
    )
    logits = table.T.log_softmax(-1)
    return Posterior(
        logits,
        kind,
        f"over the states of one column, {scored[0].how}",
        _labels(variable),
        asked.seed,
    )


def _with_states(asked: Asked, at: Tensor, codes: Tensor) -> LogProb:
    """log p of the rows with the column in the first of these states, then in the second, and so on, (S * B,)."""
    n = len(codes)
    # Every row once a state: (S * B,) rows, state-major.
    batch = asked.batch.repeat(n)
    given = None if asked.given is None else asked.given.repeat(n)
    code = codes.repeat_interleave(len(asked.batch)).to(batch.x)
    x = torch.where(at, code.reshape(-1, *[1] * at.dim()), batch.x)
    told = Batch(x, batch.present | at, batch.length, batch.weight, batch.given, batch.index)
    return asked.law.log_prob(
        told, given=given, effort=asked.effort, seed=asked.seed, settings=asked.settings
    )


def _labels(variable: Variable) -> tuple[str, ...] | None:
    if variable.type == "nominal":
        return variable.labels
    if variable.type == "ordinal":
        return tuple(str(variable.start + k) for k in range(variable.levels))
    return None


_ANSWERS: dict[str, Callable[[Asked], Any]] = {
    "sample": _sample,
    "complete": _complete,
    "log_prob": _log_prob,
    "mode": _mode,
    "classify": _classify,
    "anomaly_score": _anomaly_score,
    "p_value": _p_value,
}


callable_module(__name__, query)
