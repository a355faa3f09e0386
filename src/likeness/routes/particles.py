"""Completion by weighted particles: missing entries drawn from a proposal, weighed by the model, resampled."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from likeness.core import scoring
from likeness.core.answers import Completed, Kind
from likeness.core.batch import Batch
from likeness.core.distribution import Distribution
from likeness.core.noise import Noise
from likeness.core.routes import Question, route
from likeness.numerics.resampling import effective_size, multinomial


def _refuse(dist: Distribution) -> str | None:
    if dist.filler is not None:
        return None
    return "it has no simple distribution to propose missing entries from"


def resampled(x: Tensor, log_weight: Tensor, question: Question, how: str) -> Completed:
    """n draws of each row from K weighted particles x (K, B, *E), log weights (K, B)."""
    n = question.n
    rows = x.shape[1]
    # One particle for each draw, in proportion to the weights of its row: (n, B).
    u = question.noise.draws(n).uniform("pick", 1).reshape(n, rows)
    index = multinomial(log_weight, u)
    draws = x[index, torch.arange(rows, device=x.device)]
    size = effective_size(log_weight)
    return Completed(
        draws, f"{how}, {len(x)} particles", ess=size.clamp(max=float(len(x))), kind=Kind.ESTIMATE
    )


def cloud(noise: Noise, count: int) -> Noise:
    """The randomness of a row's particles: the same for every draw that is taken from them."""
    return replace(noise, draw=0).within("particles").draws(count)


@route("complete", "weighted particles", needs=("log_prob",), kind=Kind.ESTIMATE, refuse=_refuse)
def particles(dist: Distribution, question: Question) -> Completed:
    """Sampling-importance-resampling with weights p(x) / q(missing entries | observed) (Rubin 1987)."""
    assert dist.filler is not None
    count = question.settings.particles
    # (K B, *E), draw-major: every row's missing entries proposed K times.
    many = question.batch.repeat(count)
    noise = cloud(question.noise, count)
    inside, correction, _ = scoring.to_model_units(dist, many, noise)
    complete, minus_log_q = dist.filler.fill(inside, noise)
    scored = dist._log_prob(_given(complete, inside), noise, 1, question.settings)
    # log p(x) - log q + log|det| of the preprocessor, (K, B).
    weight = (scored.value + minus_log_q + correction).reshape(count, -1)
    if dist.preprocessor is None:
        x = complete.x
    else:
        x = dist.preprocessor.inverse(complete.x)
    return resampled(x.reshape(count, -1, *x.shape[1:]), weight, question, "weighted particles")


def _given(complete: Batch, inside: Batch) -> Batch:
    return replace(complete, given=inside.given)
