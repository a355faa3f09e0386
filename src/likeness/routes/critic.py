"""Strangeness by a critic: offered as what it is, a score in units of its own."""

from __future__ import annotations

from torch import Tensor

from likeness.core.answers import Kind
from likeness.core.batch import Places
from likeness.core.distribution import Distribution
from likeness.core.routes import Question, route


def _refuse(law: Distribution) -> str | None:
    if law.has("_critic_score"):
        return None
    return "it has no critic"


@route("anomaly_score", "critic's score", kind=Kind.ESTIMATE, refuse=_refuse, rank=1)
def critic_score(law: Distribution, question: Question) -> Tensor:
    """Minus the critic's score of each row, (B,)."""

    def scored(rows: Places) -> Tensor:
        noise = question.noise[rows]
        return law._critic_score(law._inside(question.batch[rows], noise)[0], noise)

    return law._tiled(question.batch.ids, question.settings, scored, alike=question.batch)
