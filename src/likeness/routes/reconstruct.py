"""Strangeness by reconstruction: how far a row lies from decode(encode(row))."""

from __future__ import annotations

from torch import Tensor

from likeness.core import scoring
from likeness.core.answers import Kind
from likeness.core.batch import Places
from likeness.core.distribution import Distribution
from likeness.core.routes import Question, route


def _error(dist: Distribution, question: Question) -> Tensor:
    def error(rows: Places) -> Tensor:
        batch = question.batch[rows]
        noise = question.noise[rows]
        inside, _, _ = scoring.to_model_units(dist, batch, noise)
        code = dist._encode(inside, noise, question.effort, question.settings)
        back = dist._decode(code.mode, inside.given, batch.ids).mean
        return (back - batch.x).square() * batch.present

    return scoring.tiled(dist, question.batch.ids, question.settings, error, alike=question.batch)


@route(
    "anomaly_score", "reconstruction error", needs=("encode", "decode"), kind=Kind.ESTIMATE, rank=2
)
def reconstruction(dist: Distribution, question: Question) -> Tensor:
    """|x - decode(encode(x))|^2 over what is observed, in squared data units, (B,)."""
    return _error(dist, question).flatten(1).sum(-1)


@route(
    "anomaly_map",
    "reconstruction error of an entry",
    needs=("encode", "decode"),
    kind=Kind.ESTIMATE,
    rank=2,
)
def reconstruction_map(dist: Distribution, question: Question) -> Tensor:
    """The squared reconstruction error of every entry, (B, *E)."""
    return _error(dist, question)
