"""Classes by Bayes' rule: p(y | x) is proportional to p(y) p(x | y)."""

from __future__ import annotations

from dataclasses import replace

import torch

from likeness.core import scoring
from likeness.core.answers import Kind, Posterior
from likeness.core.batch import Batch
from likeness.core.distribution import Distribution
from likeness.core.routes import Question, route
from likeness.core.space import entry_names


def _refuse(dist: Distribution) -> str | None:
    given = dist.given_space
    if given is not None and given.label is not None:
        return None
    if given is not None and given.shape == (1,) and given.variables[0].type == "ordinal":
        name = entry_names(given, "given")[0]
        advice = f"fit with columns={{{name!r}: 'nominal'}}"
        return f"classes need a nominal `given`, and {name!r} has ordered levels: {advice}"
    return "classes need a nominal `given` of one entry: fit with given=labels"


@route("classify", "Bayes' rule", needs=("log_prob",), kind=Kind.EXACT, refuse=_refuse)
def bayes_rule(dist: Distribution, question: Question) -> Posterior:
    """log p(y | x) = log p(y) + log p(x | y) - log sum over y, exact where log p is.

    A row that is impossible under every class speaks for none: it has the prior.
    """
    assert question.prior is not None
    batch = question.batch
    space = dist.condition_space
    classes = space.label or 0
    # log p(x | y) under every label, then the prior and a normalisation over the labels.
    scores = []
    for y in range(classes):
        given = Batch(batch.x.new_full((len(batch), 1), float(y)), index=batch.ids)
        under = replace(batch, given=given)
        scores.append(
            scoring.score(dist, under, question.noise, question.effort, question.settings)
        )
    prior = question.prior.log()
    joint = torch.stack([s.value for s in scores], -1) + prior
    joint = torch.where(joint.isneginf().all(-1, keepdim=True), prior, joint)
    if all(s.kind is Kind.EXACT for s in scores):
        kind = Kind.EXACT
    else:
        kind = Kind.ESTIMATE
    labels = getattr(space.variables[0], "labels", None)
    return Posterior(joint.log_softmax(-1), kind, f"Bayes' rule, {scores[0].how}", labels)
