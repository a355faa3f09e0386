"""Strangeness by a critic: offered as what it is, a score in units of its own."""

from __future__ import annotations

from torch import Tensor

from likeness.core import scoring
from likeness.core.answers import Kind
from likeness.core.batch import Places
from likeness.core.distribution import Distribution
from likeness.core.reach import nearest
from likeness.core.routes import Question, route


def _refuse(dist: Distribution) -> str | None:
    if dist.has("_critic_score"):
        return None
    return "it has no critic"


@route("anomaly_score", "critic's score", kind=Kind.ESTIMATE, refuse=_refuse, rank=1)
def critic_score(dist: Distribution, question: Question) -> Tensor:
    """Minus the critic's score of each row, (B,).

    The critic has seen nothing beyond the range of the training values, where its score may go either way: a row
    farther out has the score of the nearest point within the range, plus its distance from there in model units.
    """

    def scored(rows: Places) -> Tensor:
        batch, noise = question.batch[rows], question.noise[rows]
        near = scoring.to_model_units(dist, nearest(dist.space, batch, dist.extent), noise)[0]
        away = (scoring.to_model_units(dist, batch, noise)[0].x - near.x).flatten(1).norm(dim=-1)
        return dist._critic_score(near, noise) + away

    return scoring.tiled(dist, question.batch.ids, question.settings, scored, alike=question.batch)
