"""Strangeness by improbability: -log p of a row, and of each entry given the others."""

from __future__ import annotations

import torch
from torch import Tensor

from likeness.core import scoring
from likeness.core.answers import Kind
from likeness.core.distribution import Distribution
from likeness.core.routes import Question, route


@route("anomaly_score", "-log p", needs=("log_prob",), kind=Kind.EXACT)
def improbability(dist: Distribution, question: Question) -> Tensor:
    """-log p(x), in nats: unsafe alone in many dimensions (Nalisnick et al. 2019), so reports show every route."""
    return -scoring.score(
        dist, question.batch, question.noise, question.effort, question.settings
    ).value


@route(
    "anomaly_map",
    "-log p of an entry given the others",
    needs=("log_prob",),
    kind=Kind.EXACT,
    rank=1,
)
def conditional_improbability(dist: Distribution, question: Question) -> Tensor:
    """-log p(x_i | x_-i) = log p(x_-i) - log p(x) for every entry, (B, *E); 0 where hidden."""
    batch = question.batch
    question_of = (question.noise, question.effort, question.settings)
    whole = scoring.score(dist, batch, *question_of).value
    flat = batch.x.flatten(1)
    present = batch.present.flatten(1)
    columns = []
    # log p(x_-i) - log p(x), one entry hidden at a time.
    for i in range(flat.shape[1]):
        hidden = torch.zeros_like(present)
        hidden[:, i] = True
        rest = scoring.score(dist, batch.hide(hidden.reshape(batch.x.shape)), *question_of).value
        without = torch.where(
            rest.isneginf(), torch.inf, rest - whole
        )  # not this entry alone makes the row impossible
        columns.append(torch.where(present[:, i], without, torch.zeros_like(whole)))
    return torch.stack(columns, -1).reshape(batch.x.shape)
