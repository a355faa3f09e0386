"""What a row is told depends on that row alone: shapes, items, saved models, absent verbs, order of rows."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from likeness.check.cell import Cell, poisoned
from likeness.check.checks_holes import hiding
from likeness.check.checks_learning import resumed
from likeness.check.contract import CheckFailure, Result, Skip, check, demand, judge
from likeness.core.batch import Batch, concat
from likeness.core.batch import check as checked
from likeness.core.distribution import Distribution
from likeness.core.errors import Unsupported
from likeness.registry import reading, store

ROUNDING = 1e-7  # relative: kernels change with the number of rows, solvers amplify it
ITEMS = 64
ORDERED = 16
RESUMED = ("reals2", "none")
PARTS = ((1, 0), (7, 5), (8, 17), (37, 17), (64, 0))  # items of a series: how many, first
ROWS = ((1, 0), (7, 5), (17, 17))  # rows of a batch: one, some beside a tile's edge, several tiles
WIDE = 100  # entries from which answers are dear, and the parts of a batch that are asked about
FEW = ((1, 0), (7, 5))
ALONE = 3  # rows that are asked about with one row, where that is dear 16, computed at a time

Ask = Callable[[Cell, Batch, Any], Tensor]
Parts = tuple[tuple[int, int], ...]


def _log_prob(cell: Cell, batch: Batch, settings: Any) -> Tensor:
    return cell.law.log_prob(batch, seed=cell.seed, effort=cell.effort, settings=settings).value


def _sample(cell: Cell, batch: Batch, settings: Any) -> Tensor:
    return cell.law.sample(2, given=batch.given, seed=cell.seed, settings=settings).x.transpose(
        0, 1
    )


def _complete(cell: Cell, batch: Batch, settings: Any) -> Tensor:
    return _complete_as_is(cell, cell.holed(batch, 1), settings)


def _complete_as_is(cell: Cell, batch: Batch, settings: Any) -> Tensor:
    return cell.law.complete(batch, n=2, seed=cell.seed, settings=settings).x.transpose(0, 1)


def _encode(cell: Cell, batch: Batch, settings: Any) -> Tensor:
    return cell.law.encode(batch, effort=cell.effort, seed=cell.seed, settings=settings).mean


def _classify(cell: Cell, batch: Batch, settings: Any) -> Tensor:
    return cell.law.classify(batch, effort=cell.effort, seed=cell.seed, settings=settings).logits


def _anomaly(cell: Cell, batch: Batch, settings: Any) -> Tensor:
    return cell.law.anomaly_score(batch, seed=cell.seed, settings=settings)


ASKED: dict[str, Ask] = {
    "log_prob": _log_prob,
    "sample": _sample,
    "complete": _complete,
    "encode": _encode,
    "classify": _classify,
    "anomaly_score": _anomaly,
}


def askable(cell: Cell) -> Iterator[tuple[str, Ask]]:
    """The verbs that answer a row each, `sample` only where something is given."""
    for verb, ask in ASKED.items():
        if cell.law.support(verb) and (verb != "sample" or cell.given):
            yield verb, ask


def gap(a: Tensor, b: Tensor) -> float:
    """The largest difference relative to 1 + |b|; equal infinities differ by nothing."""
    if a.shape != b.shape:
        raise CheckFailure(f"shapes {tuple(a.shape)} and {tuple(b.shape)}")
    differ = torch.where(a == b, torch.zeros_like(a), (a - b).abs() / (1 + b.abs()))
    if differ.numel():
        return float(differ.max())
    return 0.0


# ---- 1: shapes, types, ranges --------------------------------------------------------------------


@check(1, "shapes, types, ranges", of_laws=True)
def shapes(cell: Cell) -> Result:
    """Every verb's answer has the shape, type and range that the protocol states."""
    batch = cell.held(5)
    for verb, shape in SHAPES.items():
        if cell.law.support(verb):
            shape(cell, batch)
    return Result(0, 0, "all verbs")


def _told(what: str, x: Tensor, shape: tuple[int, ...], law: Distribution) -> None:
    demand(tuple(x.shape) == shape, f"{what} has shape {tuple(x.shape)} where {shape} is promised")
    demand(x.dtype == law.dtype, f"{what} is {x.dtype} where the model computes in {law.dtype}")
    demand(x.device.type == law.device.type, f"{what} lies on {x.device}")
    demand(not bool(x.isnan().any()), f"{what} holds NaN")


# Shape and Space of draws, with and without a condition.
def _shape_sample(cell: Cell, batch: Batch) -> None:
    layout = cell.law.space.layout
    draws = cell.law.sample(3, seed=1)
    _told("sample", draws.x, (3, *layout), cell.law)
    checked(cell.law.space, draws.batch)
    demand(draws.seed == 1 and len(draws) == 3, "sample forgets its seed or its number")
    if cell.given:
        under = cell.law.sample(3, given=batch.given, seed=1)
        _told("sample given", under.x, (3, 5, *layout), cell.law)
        checked(cell.law.space, under.batch)


def _shape_log_prob(cell: Cell, batch: Batch) -> None:
    found = cell.law.log_prob(batch, seed=1, effort=cell.effort)
    _told("log_prob", found.value, (5,), cell.law)
    demand(found.measure == cell.law.space.measure, f"log_prob is against {found.measure}")
    wanted = batch.present.flatten(1).sum(-1)
    demand(
        found.dims is not None and torch.equal(found.dims, wanted),
        "log_prob counts other entries than are present",
    )
    if found.stderr is not None:
        _told("stderr", found.stderr, (5,), cell.law)
        demand(
            float(found.stderr.min()) >= 0 and found.seed == 1,
            "a drawn value needs its seed and an error >= 0",
        )
    if found.terms is not None:
        total = torch.stack(list(found.terms.values())).sum(0)
        demand(gap(total, found.value) < 1e-6, "terms do not add up to the value")


def _shape_complete(cell: Cell, batch: Batch) -> None:
    holed = cell.holed(batch, 1)
    draws = cell.law.complete(holed, n=3, seed=1, settings=cell.asked())
    _told("complete", draws.x, (3, 5, *cell.law.space.layout), cell.law)
    flat = holed.repeat(3)
    checked(cell.law.space, Batch(draws.x.flatten(0, 1), length=flat.length))
    told = draws.ess is not None and tuple(draws.ess.shape) == (5,) and float(draws.ess.min()) > 0
    demand(told, "complete says no effective sample size of each row")


def _shape_mode(cell: Cell, batch: Batch) -> None:
    try:
        mode = cell.law.mode(cell.holed(batch, 1))
    except Unsupported:  # some rows have no route: it must say so, and does
        return
    _told("mode", mode.x, (5, *cell.law.space.layout), cell.law)
    checked(cell.law.space, mode.batch)


def _shape_encode(cell: Cell, batch: Batch) -> None:
    code = cell.law.encode(batch, seed=1, effort=cell.effort)
    demand(len(code.mean) == 5 and len(code.mode) == 5, "encode answers another number of rows")
    demand(bool(torch.isfinite(code.mean).all()), "a code is not finite")
    demand(
        tuple(code.sample(2, seed=1).x.shape[:2]) == (2, 5), "codes are not drawn as (n, B, ...)"
    )
    demand(tuple(code.log_prob(code.mode).shape) == (5,), "log p of a code is not (B,)")


def _shape_decode(cell: Cell, batch: Batch) -> None:
    if cell.law.support("encode"):
        code = cell.law.encode(batch, seed=1, effort=cell.effort).mode
    else:
        code = batch.x.new_zeros(5, *cell.law.code_space.layout)
    law = cell.law.decode(code, given=batch.given)
    demand(
        tuple(law.mode.shape) == tuple(batch.x.shape), f"decode has shape {tuple(law.mode.shape)}"
    )


def _shape_classify(cell: Cell, batch: Batch) -> None:
    found = cell.law.classify(batch, seed=1, effort=cell.effort)
    _told("classify", found.logits, (5, cell.law.condition_space.label or 0), cell.law)
    total = found.probabilities.sum(-1)
    demand(gap(total, torch.ones_like(total)) < 1e-9, "class probabilities do not add up to 1")


def _shape_anomaly(cell: Cell, batch: Batch) -> None:
    _told("anomaly_score", cell.law.anomaly_score(batch, seed=1), (5,), cell.law)


def _shape_map(cell: Cell, batch: Batch) -> None:
    if (
        cell.exact and cell.law.space.dims <= 16
    ):  # a score for every entry: dear where an entry costs draws
        found = cell.law.anomaly_map(cell.full(5), seed=1)
        _told("anomaly_map", found, (5, *cell.law.space.layout), cell.law)


def _shape_p_value(cell: Cell, batch: Batch) -> None:
    found = cell.law.p_value(batch, seed=1)
    _told("p_value", found, (5,), cell.law)
    demand(bool(((found > 0) & (found <= 1)).all()), "a p-value lies outside (0, 1]")


SHAPES: dict[str, Callable[[Cell, Batch], None]] = {
    "sample": _shape_sample,
    "log_prob": _shape_log_prob,
    "complete": _shape_complete,
    "mode": _shape_mode,
    "encode": _shape_encode,
    "decode": _shape_decode,
    "classify": _shape_classify,
    "anomaly_score": _shape_anomaly,
    "anomaly_map": _shape_map,
    "p_value": _shape_p_value,
}


# ---- 2: items ------------------------------------------------------------------------------------


@check(2, "items", of_laws=True)
def items(cell: Cell) -> Result:
    """Item i is the same in any batch, to the bit under `strict`, and ambient generators count for nothing."""
    batch = cell.held(ITEMS)
    strict = _largest(cell, batch, strict=True)
    demand(
        strict == 0, f"under strict an item's bits change with the rows beside it (by {strict:.2g})"
    )
    loose = _largest(cell, batch, strict=False)
    return judge(loose, ROUNDING, "the largest relative change of an item with the rows beside it")


def _largest(cell: Cell, batch: Batch, *, strict: bool) -> float:
    """The largest change of an item over all verbs."""
    parts = FEW if cell.law.space.dims > WIDE else ROWS
    rows = [_parts(cell, ask, batch, parts, strict=strict) for _, ask in askable(cell)]
    return max(rows + _series(cell, strict=strict), default=0.0)


def _parts(cell: Cell, ask: Ask, batch: Batch, parts: Parts, *, strict: bool) -> float:
    """The largest change of a row's answer over several parts of the batch."""
    settings = cell.asked(strict=strict)
    # Other rows beside it, other chunk sizes, and other ambient seeds must not change a row.
    batch = batch[: max(sum(part) for part in parts) + 1]
    with poisoned(1):
        whole = ask(cell, batch, settings)
    largest = 0.0
    for rows, first in parts:
        with poisoned(rows):
            part = ask(cell, batch[first : first + rows], settings)
        largest = max(largest, gap(part, whole[first : first + rows]))
    if not strict:
        with poisoned(2):
            single = ask(cell, batch[:ALONE], cell.asked(rows=1 if parts is ROWS else 16))
        largest = max(largest, gap(single, whole[:ALONE]))
    return largest


def _series(cell: Cell, *, strict: bool) -> list[float]:
    """Items first..first+n-1 of `sample`, and draws first.. of rows, against one long series."""
    # Series of draws: a part from `first` on is the same part of the whole.
    law = cell.law
    changes = list[float]()
    settings = cell.asked(strict=strict)
    parts = PARTS[:3] if law.space.dims > WIDE else PARTS
    if law.support("sample"):
        with poisoned(1):
            whole = law.sample(max(sum(part) for part in parts), seed=cell.seed, settings=settings)
        for rows, first in parts:
            with poisoned(rows):
                part = law.sample(rows, seed=cell.seed, first=first, settings=settings)
            changes.append(gap(part.x, whole.x[first : first + rows]))
    if law.support("complete"):
        batch = cell.holed(cell.held(4), 1)
        whole = law.complete(batch, n=6, seed=cell.seed, settings=settings)
        part = law.complete(batch, n=2, first=3, seed=cell.seed, settings=settings)
        demand(
            settings is None or torch.equal(part.x, whole.x[3:5]),
            "draws of `complete` do not count on from `first`",
        )
    return changes


# ---- 3: saved models -----------------------------------------------------------------------------


@check(3, "save, open, same answers")
def saved(cell: Cell) -> Result:
    """A model that was saved and opened again answers with the same bits."""
    # Through a file and back, in the same process.
    with tempfile.TemporaryDirectory() as folder:
        store.save(cell.model, folder)
        other = cell.again(reading.open_model(folder))
    demand(other.model.space == cell.model.space, "the Space was not kept")
    demand(other.model.given_space == cell.model.given_space, "the Space of `given` was not kept")
    demand(other.model.config == cell.model.config, "the Config was not kept")
    batch = cell.held(9)
    for verb, ask in askable(cell):
        same = torch.equal(ask(cell, batch, cell.asked()), ask(other, batch, cell.asked()))
        demand(same, f"{verb} answers otherwise once opened")
    if cell.law.support("sample"):
        demand(
            torch.equal(cell.drawn(9).x, other.drawn(9).x), "sample answers otherwise once opened"
        )
    if (cell.space_name, cell.given_name) == RESUMED:
        gap = resumed(cell)
        demand(gap == 0, f"a run that was stopped and resumed ends elsewhere, by {gap:.3g}")
    return Result(0, 0, "bits of all verbs")


# ---- 14: absent verbs ----------------------------------------------------------------------------


@check(14, "absent verbs say why", of_laws=True)
def absent(cell: Cell) -> Result:
    """A verb that a distribution does not have raises Unsupported with the reason that `support` gives."""
    law = cell.law
    batch = cell.held(2)
    calls: dict[str, Callable[[], Any]] = {
        "sample": lambda: law.sample(1),
        "log_prob": lambda: law.log_prob(batch),
        "complete": lambda: law.complete(cell.holed(batch, 1)),
        "mode": lambda: law.mode(batch),
        "encode": lambda: law.encode(batch),
        "decode": lambda: law.decode(torch.zeros(1, 1)),
        "classify": lambda: law.classify(batch),
        "anomaly_score": lambda: law.anomaly_score(batch),
        "anomaly_map": lambda: law.anomaly_map(batch),
        "p_value": lambda: law.p_value(batch),
    }
    without = [verb for verb in calls if not law.support(verb)]
    for verb in without:
        _refused(verb, law.support(verb).why, calls[verb])
    return Result(0, 0, f"{len(without)} absent: {', '.join(without) or 'none'}")


# A refusal is a sentence, and the same one that `support` gives.
def _refused(verb: str, why: str, call: Callable[[], Any]) -> None:
    demand(len(why.split()) >= 3, f"{verb} is refused without a sentence: {why!r}")
    try:
        call()
    except Unsupported as error:
        demand(why in str(error), f"{verb} raises {str(error)!r} where `support` says {why!r}")
    else:
        raise CheckFailure(f"{verb} is said to be absent ({why}) and answers")


# ---- 18: order of rows ---------------------------------------------------------------------------


@check(18, "rows reordered, padded, sharded", of_laws=True)
def order(cell: Cell) -> Result:
    """Rows keep their values under another order, beside padding, in shards, with anything in an absent tail."""
    found = {
        f"{verb}, {how}": change
        for verb, ask, batch in _asked(cell)
        for how, change in _rearranged(cell, ask, batch).items()
    }
    if not found:
        raise Skip("no verb answers a row each")
    where = max(found, key=lambda k: found[k])
    return judge(found[where], ROUNDING, f"the largest relative change of a row's value ({where})")


def _rearranged(cell: Cell, ask: Ask, batch: Batch) -> dict[str, float]:
    """The largest change of a row's answer under each rearrangement."""
    # The same rows in another order, beside others, in halves, and with litter past their ends.
    turned = torch.randperm(len(batch), generator=torch.Generator().manual_seed(cell.seed))
    padded = concat([batch, replace(batch[:3], index=torch.tensor([99, 98, 97]))])
    littered = replace(batch, x=batch.x.masked_fill(~batch.present, 1.0))
    with poisoned(3):
        settings = cell.asked()
        whole = ask(cell, batch, settings)
        return {
            "reordered": gap(ask(cell, batch[turned], settings), whole[turned]),
            "padded": gap(ask(cell, padded, settings)[: len(batch)], whole),
            "sharded, even rows": gap(ask(cell, batch[::2], settings), whole[::2]),
            "sharded, odd rows": gap(ask(cell, batch[1::2], settings), whole[1::2]),
            "rubbish where nothing is": gap(ask(cell, littered, settings), whole),
        }


def _asked(cell: Cell) -> Iterator[tuple[str, Ask, Batch]]:
    """Each verb with its rows; completion and log p also of rows of which every other one has many holes."""
    # Rows of unlike missingness in one batch must not change each other's route.
    batch = cell.held(ORDERED if cell.law.space.dims <= WIDE else ORDERED // 2)
    yield from ((verb, ask, batch) for verb, ask in askable(cell))
    odd = (torch.arange(len(batch)) % 2 == 1).reshape(-1, *[1] * (batch.x.dim() - 1))
    known = torch.where(odd, hiding(cell, batch, 0.5).present, cell.holed(batch, 1).present)
    patchy = batch.hide(~known & batch.present)
    for verb, ask in (("complete", _complete_as_is), ("log_prob", _log_prob)):
        if cell.law.support(verb) and _answers(lambda ask=ask: ask(cell, patchy[:4], cell.asked())):  # type: ignore[misc]
            yield f"{verb} of patchy rows", ask, patchy


def _answers(call: Callable[[], Any]) -> bool:
    try:
        call()
    except Unsupported:
        return False
    return True
