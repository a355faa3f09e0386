"""p-values by conformal prediction: the rank of a score among held-out scores."""

from __future__ import annotations

import torch
from torch import Tensor

from likeness.core.answers import Kind
from likeness.core.distribution import Distribution
from likeness.core.routes import Question, route, routes_for
from likeness.metrics.conformal import conformal_p_value


def _refuse(dist: Distribution) -> str | None:
    scores = getattr(dist, "held_out", None)
    if scores is None or scores.numel() == 0:
        return "p-values need held-out scores: fit with holdout=0.1"
    return None


@route("p_value", "conformal", needs=("anomaly_score",), kind=Kind.EXACT, refuse=_refuse)
def conformal(dist: Distribution, question: Question) -> Tensor:
    """(1 + #{held-out score >= score}) / (n + 1), (B,), by the default route's score (Vovk et al. 2005, eq. 2.20).

    A row without its condition is ranked among held-out rows without theirs: scores of p(x) and of
    p(x | y) differ.
    """
    # The rank among held-out scores under the same conditions, or of rows without any.
    scores = routes_for(dist, "anomaly_score")[0].function(dist, question).double()
    among = _rank(dist.held_out, scores)  # type: ignore[attr-defined]
    if dist.given_space is None:
        return among
    given = question.batch.given
    if given is None:
        blank = torch.ones_like(scores, dtype=torch.bool)
    else:
        blank = ~given.present.flatten(1).any(-1)
    if not bool(blank.any()):
        return among
    return torch.where(blank, _rank(dist.held_out_alone, scores), among)  # type: ignore[attr-defined]


def _rank(held_out: Tensor, scores: Tensor) -> Tensor:
    """Scores a little lower than they are: equal rows must tie although kernels round differently for other counts."""
    if not len(scores):
        return scores
    return conformal_p_value(scores - 1e-6 * (1 + scores.abs()), held_out)
