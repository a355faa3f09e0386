"""From a distribution's hooks to answers about rows in data units, through preprocessor, filler and classes.

What the verbs of `Distribution` rest on: rows in tiles, without gradients.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from likeness.core.answers import Completed, Kind, Mode, Scored, add_correction, minus
from likeness.core.batch import Batch, Places, missing
from likeness.core.config import Settings as Asked
from likeness.core.errors import Unsupported
from likeness.core.hooks import Hooks
from likeness.core.noise import Noise
from likeness.core.precision import answering
from likeness.core.preprocessor import Filler
from likeness.core.routes import Question, routes_for
from likeness.numerics import memory
from likeness.numerics.draws import inverse_cdf
from likeness.numerics.tree import aligned, join, take

STRICT_TILE = 8
FEW_PARTICLES = 50
T = TypeVar("T")


def tiled(
    dist: Hooks,
    place: Tensor,
    settings: Asked,
    f: Callable[[Places], T],
    cost: int = 1,
    *,
    alike: Batch | None = None,
) -> T:
    """Apply `f` to chunks of at most `settings.rows` rows; where strict, to tiles of 8, row i in slot i mod 8.

    A kernel's bits may depend on where in memory a row lies, so a row's slot is a property of
    its item and draw; and on how many rows there are, which models part by holes and classes: a
    strict tile's rows are of one kind.
    """
    memory.keep()

    def answer(tile: Places) -> T:
        with answering(settings.precision):
            return f(tile)

    # Chunks of bounded memory, in the order of the rows.
    with torch.no_grad(), dist.asking():
        if not settings.strict or not len(place):
            size = max(1, settings.rows // cost)
            return join([answer(slice(i, i + size)) for i in range(0, max(1, len(place)), size)])
        # A strict tile holds rows of one kind only: models branch on missingness and on the class.
        classes = dist.given_space is not None and dist.given_space.label is not None
        if alike is None:
            kinds = None
        else:
            kinds = alike.kinds(classes=classes).cpu()
        # Tiles list the rows of each tile; `where` brings answers back into the rows' order.
        tiles, where = aligned(place.cpu(), STRICT_TILE, kinds)
        return take(join([answer(tile) for tile in tiles]), where)


def sample_rows(
    dist: Hooks, noise: Noise, given: Batch | None, settings: Any
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Items, their lengths, and where asked for the items along the way (B, T, *E), all in data units."""
    # 1. The condition: as given, or a label drawn from the class prior.
    given = drawn_given(dist, noise, given)
    # 2. The length: as the user sets it, or drawn from the training lengths.
    if settings.length is None:
        length = dist.draw_length(noise, given)
    else:
        length = torch.full_like(noise.index, settings.length)
    if not dist.space.ragged:
        length = None
    # 3a. Models with an end symbol decide the length while they draw.
    if dist.ends and settings.length is None:
        x, length = dist._sample_ended(noise, given, settings)
        return to_data_units(dist, x, length), length, None
    # 3b. Others draw items of that length, along with the solver's path where settings want it.
    path = dist._trajectory(noise, given, length, settings)
    if path is None:
        return (
            to_data_units(dist, dist._sample(noise, given, length, settings), length),
            length,
            None,
        )
    # The path's steps become rows, so that one call brings all of them to data units:
    # (B, T, *E) -> (B*T, *E) -> (B, T, *E)
    if length is None:
        many = None
    else:
        many = length.repeat_interleave(path.shape[1])
    path = to_data_units(dist, path.flatten(0, 1), many).unflatten(0, path.shape[:2])
    return path[:, -1], length, path


def to_data_units(dist: Hooks, x: Tensor, length: Tensor | None) -> Tensor:
    """Items in data units, 0 past their lengths."""
    if dist.preprocessor is not None:
        x = dist.preprocessor.inverse(x)
    within = Batch(x, length=length).within
    if within is None:
        return x
    return x.masked_fill(~within, 0.0)


def drawn_given(dist: Hooks, noise: Noise, given: Batch | None) -> Batch | None:
    """A missing label is drawn from the class prior; any other missing `given` is shown as missing."""
    if dist.given_space is None:
        return None
    if given is None:
        given = missing(
            dist.given_space, noise.rows, torch.zeros(1, dtype=dist.dtype, device=dist.device)
        )
    if not dist.sums_classes() or given.full:
        return given
    cdf = dist.class_prior().cumsum(0)
    # A missing label by inverse CDF of the prior; observed labels stay, (B, 1).
    label = inverse_cdf(cdf, noise.uniform("label", 1)).to(dist.dtype)
    return Batch(torch.where(given.present, given.x, label), index=given.ids)


def to_model_units(dist: Hooks, batch: Batch, noise: Noise) -> tuple[Batch, Tensor, Kind]:
    """A batch in model units, the correction to log p (B,) and its kind; holes stay holes."""
    # A model with a condition sees a missing one as missing, never as absent.
    if dist.given_space is not None and batch.given is None:
        batch = replace(batch, given=missing(dist.given_space, len(batch), batch.x))
    if dist.preprocessor is None:
        return batch, batch.x.new_zeros(len(batch)), Kind.EXACT
    return dist.preprocessor.forward(batch, noise)


def score(dist: Hooks, batch: Batch, noise: Noise, effort: int | None, settings: Any) -> Scored:
    """log p of each row in data units, by the own hook or, where holes need one, by a route."""
    function: Callable[[Any, Question], Scored] = score_rows
    # A model without its own marginal for these rows needs a registered route.
    if not batch.full and dist.filler is None and (why := dist._marginal(batch)) is not None:
        routes = routes_for(dist, "log_prob with missing entries", batch)
        if not routes:
            raise Unsupported(f"log p of rows with missing entries: {why}")
        function = routes[0].function
    cost = effort or dist.default_effort
    scored = tiled(
        dist,
        batch.ids,
        settings,
        lambda rows: function(dist, Question(batch[rows], noise[rows], settings, effort=effort)),
        cost,
        alike=batch,
    )
    # log p of one name: the mass of the pooled category is shared equally by its names.
    return replace(scored, value=scored.value - log_pooled(dist, batch).to(scored.value))


def log_pooled(dist: Hooks, batch: Batch) -> Tensor:
    """The logarithm of how many names the categories of each row stand for together, (B,)."""
    variable = dist.space.variables[0]
    if len(dist.space.variables) > 1 or variable.type != "nominal" or variable.pooled is None:
        return batch.x.new_zeros(len(batch))
    last = batch.present & (batch.x == variable.categories - 1)
    return last.flatten(1).sum(-1) * math.log(variable.pooled)


def score_rows(dist: Hooks, question: Question) -> Scored:
    """One tile: a missing label is summed over, log p(x) = logsumexp_y log p(y) + log p(x | y)."""
    batch = question.batch
    if not dist.sums_classes() or (batch.given is not None and batch.given.full):
        return _score_inside(dist, question)
    given = batch.given or missing(dist.condition_space, len(batch), batch.x)
    # log p(x | y) for every class y, the rows' own label where it is observed.
    parts = []
    for y in range(dist.condition_space.label or 0):
        under = replace(
            batch, given=Batch(torch.where(given.present, given.x, float(y)), index=given.ids)
        )
        parts.append(_score_inside(dist, replace(question, batch=under)))
    return _summed(parts, dist.class_prior().log(), given)


def _score_inside(dist: Hooks, question: Question) -> Scored:
    """log p in data units of rows under a known condition: the hook, the preprocessor, the filler."""
    batch = question.batch
    noise = question.noise
    effort = question.effort
    settings = question.settings
    # One draw per row suffices unless dequantising or imputing makes log p random.
    filler = None if batch.full or dist._marginal(batch) is None else dist.filler
    random = (dist.preprocessor is not None and dist.preprocessor.stochastic) or filler is not None
    if not random:
        inside, correction, kind = to_model_units(dist, batch, noise)
        scored = dist._log_prob(inside, noise, effort, settings)
        return add_correction(
            scored, correction, kind, dist.preprocessor.how if dist.preprocessor else ""
        )
    # k draws of each row, averaged by the distribution's own estimator (ELBO mean or IWAE),
    # (k*B, ...) -> (k, B) -> (B,)
    k = effort or dist.default_effort
    many = batch.repeat(k)
    wide = noise.draws(k)
    scored = _score_filled(dist, many, wide, settings, filler)
    value, stderr = dist._pooled(scored.value.reshape(k, -1), settings)
    return Scored(value, scored.kind, f"{scored.how}, {k} draw{'s' if k > 1 else ''}", stderr)


def _score_filled(
    dist: Hooks, batch: Batch, noise: Noise, settings: Any, filler: Filler | None
) -> Scored:
    inside, correction, kind = to_model_units(dist, batch, noise)
    how = dist.preprocessor.how if dist.preprocessor else ""
    # Imputation: log p(x_o) >= E_q[log p(x_o, x_m) - log q(x_m | x_o)].
    if filler is not None:
        inside, minus_log_q = filler.fill(inside, noise)
        correction = correction + minus_log_q
        kind = Kind.LOWER_BOUND
        how = f"{how}, missing entries imputed by {filler.how}".lstrip(", ")
    return add_correction(dist._log_prob(inside, noise, 1, settings), correction, kind, how)


def complete_rows(dist: Hooks, question: Question) -> Completed:
    """One tile completed by the own hook; a missing label is drawn first, from p(y | what is observed)."""
    # Without random preprocessing, and with a full condition, one call gives all n draws.
    known = not dist.sums_classes() or (
        question.batch.given is not None and question.batch.given.full
    )
    if known and (dist.preprocessor is None or not dist.preprocessor.stochastic):
        return _complete_inside(dist, question, question.n)
    # Otherwise each draw has its own dequantised values and label: n copies of one draw each.
    n = question.n
    rows = len(question.batch)
    many = replace(question, batch=question.batch.repeat(n), noise=question.noise.draws(n), n=1)
    done = _complete_inside(dist, many if known else _labelled(dist, question), 1)
    # (1, n*B, ...) -> (n, B, ...); the effective sample size of n single draws is their sum.
    if done.log_weight is None:
        weight = None
    else:
        weight = done.log_weight.reshape(n, rows)
    if done.ess is None:
        ess = None
    else:
        ess = done.ess.reshape(n, rows).mean(0) * n
    return replace(done, x=done.x.reshape(n, rows, *done.x.shape[2:]), log_weight=weight, ess=ess)


def _complete_inside(dist: Hooks, question: Question, n: int) -> Completed:
    """What is hidden, drawn in model units; an estimate of the own conditional where these are random themselves."""
    inside, _, kind = to_model_units(dist, question.batch, question.noise)
    done = dist._complete(inside, question.noise, n, question.settings)
    if dist.preprocessor is None:
        return done
    # Back to data units, draws and rows as one axis: (n, B, *E) -> (n*B, *E) -> (n, B, *E).
    x = dist.preprocessor.inverse(done.x.flatten(0, 1))
    exactness = done.kind if kind is Kind.EXACT else Kind.ESTIMATE
    return replace(done, x=x.reshape(*done.x.shape[:2], *x.shape[1:]), kind=exactness)


def _labelled(dist: Hooks, question: Question) -> Question:
    """n copies of the rows, each missing label drawn from p(y | what is observed)."""
    batch = question.batch
    n = question.n
    given = batch.given or missing(dist.condition_space, len(batch), batch.x)
    options = (question.noise, None, question.settings)
    # log p(x_o | y) of every class, (B,) each.
    scores = [
        score(dist, replace(batch, given=given.with_x(torch.full_like(given.x, y))), *options).value
        for y in range(dist.condition_space.label or 0)
    ]
    # Bayes' rule: p(y | x_o) is proportional to p(y) p(x_o | y); its CDF, once per draw, (n*B, K).
    cdf = (torch.stack(scores, -1) + dist.class_prior().log()).softmax(-1).cumsum(-1).repeat(n, 1)
    noise = question.noise.draws(n)
    given = given.repeat(n)
    # The label by inverse CDF; an observed one stays, (n*B, 1).
    label = inverse_cdf(cdf, noise.uniform("label", 1)[:, 0])[:, None].to(given.x.dtype)
    labelled = given.with_x(torch.where(given.present, given.x, label))
    return replace(question, batch=replace(batch.repeat(n), given=labelled), noise=noise, n=1)


def mode_rows(dist: Hooks, question: Question) -> Mode:
    """The mode of one tile by the own hook, in data units; what is observed stays as it is."""
    inside, _, _ = to_model_units(dist, question.batch, question.noise)
    mode = dist._mode(inside, question.settings)
    if dist.preprocessor is None:
        x = mode.batch.x
    else:
        x = dist.preprocessor.inverse(mode.batch.x)
    # Observed entries stay bit for bit; entries past the end are 0.
    x = torch.where(question.batch.present, question.batch.x, x)
    within = question.batch.within
    if within is not None:
        x = x.masked_fill(~within, 0.0)
    return replace(mode, batch=question.batch.with_x(x))


def _summed(parts: list[Scored], log_prior: Tensor, given: Batch) -> Scored:
    """The sum over classes where the label is missing; where it is known every part is the label's own term."""
    # (B, K): log p(y) + log p(x | y)
    values = torch.stack([p.value for p in parts], -1) + log_prior
    has_label = given.present.flatten(1).all(-1)
    alone = parts[0].value
    total = torch.logsumexp(values, -1)
    stderr = None
    # Delta method: d logsumexp / d v_y is the posterior weight of class y.
    if parts[0].stderr is not None:
        errors = torch.stack([p.stderr for p in parts if p.stderr is not None], -1)
        stderr = ((values - total[:, None]).exp() * errors).square().sum(-1).sqrt()
    kind = max(p.kind for p in parts)
    return Scored(
        torch.where(has_label, alone, total), kind, f"{parts[0].how}, summed over classes", stderr
    )


def ratio(whole: Scored, part: Scored) -> Scored:
    """log p(a, b) - log p(b), the errors of the two added in squares."""
    errors = [s.stderr for s in (whole, part) if s.stderr is not None]
    if errors:
        stderr = torch.stack([e.square() for e in errors]).sum(0).sqrt()
    else:
        stderr = None
    return Scored(
        whole.value - part.value, minus(whole.kind, part.kind), f"{whole.how}, ratio", stderr
    )


def warn_if_few(ess: Tensor, kind: Kind) -> None:
    """Warn of rows that rest on few effective particles."""
    if kind is not Kind.EXACT:
        poor = ess < FEW_PARTICLES
    else:
        poor = torch.zeros_like(ess, dtype=torch.bool)
    if bool(poor.any()):
        warnings.warn(
            f"{int(poor.sum())} of {len(ess)} rows rest on fewer than {FEW_PARTICLES} effective particles "
            f"(least {float(ess.min()):.1f}); raise settings particles=...",
            stacklevel=3,
        )
