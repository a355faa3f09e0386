"""Strangeness by reconstruction: how far a row lies from decode(encode(row))."""

from __future__ import annotations

from torch import Tensor

from likeness.core.answers import Kind
from likeness.core.law import Law
from likeness.core.routes import Question, route


def _error(law: Law, question: Question) -> Tensor:
    inside, _, _ = law._inside(question.batch, question.noise)
    code = law._encode(inside, question.noise, question.effort, question.settings)
    back = law._decode(code.mode, inside.given, question.batch.ids).mean
    return (back - question.batch.x).square() * question.batch.present


@route("anomaly_score", "reconstruction error", needs=("encode", "decode"), kind=Kind.ESTIMATE, rank=2)
def reconstruction(law: Law, question: Question) -> Tensor:
    """|x - decode(encode(x))|^2 over what is observed, in squared data units, (B,)."""
    return _error(law, question).flatten(1).sum(-1)


@route("anomaly_map", "reconstruction error of an entry", needs=("encode", "decode"), kind=Kind.ESTIMATE, rank=2)
def reconstruction_map(law: Law, question: Question) -> Tensor:
    """The squared reconstruction error of every entry, (B, *E)."""
    return _error(law, question)
