"""Completion by weighted particles: holes drawn from a simple law, weighed by the model, resampled."""

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


def _refuse(law: Distribution) -> str | None:
    if law.filler is not None:
        return None
    return "it has no simple distribution to propose missing entries from"


def resampled(x: Tensor, log_weight: Tensor, question: Question, how: str) -> Completed:
    """n draws of each row from K weighted particles x (K, B, *E), log weights (K, B)."""
    n = question.n
    rows = x.shape[1]
    u = question.noise.draws(n).uniform("pick", 1).reshape(n, rows)
    chosen = multinomial(log_weight, u)
    drawn = x[chosen, torch.arange(rows, device=x.device)]
    size = effective_size(log_weight)
    return Completed(
        drawn, f"{how}, {len(x)} particles", ess=size.clamp(max=float(len(x))), kind=Kind.ESTIMATE
    )


def cloud(noise: Noise, count: int) -> Noise:
    """The randomness of a row's particles: the same for every draw that is taken from them."""
    return replace(noise, draw=0).within("particles").draws(count)


@route("complete", "weighted particles", needs=("log_prob",), kind=Kind.ESTIMATE, refuse=_refuse)
def particles(law: Distribution, question: Question) -> Completed:
    """Sampling-importance-resampling with weights p(x) / q(holes | observed) (Rubin 1987)."""
    assert law.filler is not None
    count = question.settings.particles
    many = question.batch.repeat(count)
    noise = cloud(question.noise, count)
    inside, correction, _ = scoring.to_model_units(law, many, noise)
    filled, minus_log_q = law.filler.fill(inside, noise)
    scored = law._log_prob(_given(filled, inside), noise, 1, question.settings)
    weight = (scored.value + minus_log_q + correction).reshape(count, -1)
    if law.preprocessor is None:
        x = filled.x
    else:
        x = law.preprocessor.inverse(filled.x)
    return resampled(x.reshape(count, -1, *x.shape[1:]), weight, question, "weighted particles")


def _given(filled: Batch, inside: Batch) -> Batch:
    return replace(filled, given=inside.given)
