"""What one distribution of one seed scores: likelihood, nearness of its draws to held-out items, speed, the audit."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import torch

from likeness.core.answers import LogProb
from likeness.core.batch import Batch
from likeness.core.distribution import Distribution
from likeness.core.errors import LikenessError
from likeness.core.model import Model
from likeness.core.noise import mix
from likeness.core.space import Space
from likeness.data.source import Source
from likeness.evaluate.features import View, view
from likeness.evaluate.protocol import Options, Split
from likeness.metrics.audit import Audit, memorisation_audit
from likeness.metrics.coverage import Coverage, prdc
from likeness.metrics.distance import energy_distance
from likeness.metrics.frechet import frechet_interval
from likeness.metrics.intervals import Interval
from likeness.metrics.two_sample import boosted_trees, c2st, small_network

A = TypeVar("A")
T = TypeVar("T")
FOLDS = 5
SCOPE = 0xE7A1
TREES = 32  # columns up to which boosted trees tell tables apart; a small network does where there are more
REPEATS = 5  # timings, and seconds after which no further one is begun
PATIENCE = 1.0


@dataclass(frozen=True)
class Absent:
    """Why there is no number."""

    why: str


@dataclass(frozen=True, eq=False)
class Scores:
    """What one distribution of one seed scored; where something could not be had, the sentence why.

    Args:
        likelihood: log p of the held-out items.
        drawn: Items drawn, as many as `held`, or why there are none.
        coverage: Precision, recall, density, coverage.
        c2st: Accuracy of a classifier.
        energy: Energy distance.
        frechet: Fréchet distance.
        audit: What the nearest training items say.
        rates: Items a second at batch 1 and at the large batch, a number a timing.
        evaluations: Network evaluations that one drawn item costs.
        answers: Verb -> the routes that answer it, or why none does.
    """

    likelihood: LogProb | Absent
    drawn: Batch | Absent
    coverage: Coverage | Absent
    c2st: Interval | Absent
    energy: Interval | Absent
    frechet: Interval | Absent
    audit: Audit | Absent
    rates: tuple[list[float] | Absent, list[float] | Absent]
    evaluations: int | Absent
    answers: dict[str, str]


def tried(f: Callable[[], T]) -> T | Absent:
    """The answer, or the sentence that says why there is none."""
    try:
        return f()
    except LikenessError as error:
        return Absent(str(error))
    except (RuntimeError, ValueError, ArithmeticError, NotImplementedError) as error:
        return Absent(f"{type(error).__name__}: {error}".splitlines()[0])


def then(part: A | Absent, f: Callable[[A], T]) -> T | Absent:
    """What follows from a part that is there; the part's own sentence where it is not."""
    if isinstance(part, Absent):
        return part
    return tried(lambda: f(part))


def score(law: Distribution, split: Split, view: View, seed: int, options: Options) -> Scores:
    """Everything that one distribution is scored by, on the same items and with the same seed for all."""
    held = held_out(split.test, options)
    seed = mix(
        seed, SCOPE
    )  # a world's rows were drawn with the seed itself, and the truth would hand them out again
    found = tried(lambda: draw(law, held, seed))
    drawn = found if isinstance(found, Absent) else found[0]
    near = then(drawn, lambda made: (view.joint_features(held), view.joint_features(made)))
    return Scores(
        likelihood=tried(lambda: _likelihood(law, split.test, seed, options)),
        drawn=drawn,
        coverage=then(near, lambda xy: prdc(*xy, k=options.neighbours, level=options.level)),
        c2st=then(
            drawn, lambda made: _told_apart(split.train.space, view, held, made, seed, options)
        ),
        energy=then(near, lambda xy: energy_distance(*xy, level=options.level)),
        frechet=then(near, lambda xy: frechet_interval(*xy, level=options.level)),
        audit=then(drawn, lambda made: _audit(view, split, held, made, seed, options)),
        rates=(_rate(law, held, 1, seed), _rate(law, held, options.batch, seed)),
        evaluations=found if isinstance(found, Absent) else found[1],
        answers=answers(law),
    )


def held_out(test: Batch, options: Options) -> Batch:
    """The held-out items that draws are laid beside, evenly spaced."""
    return test[torch.linspace(0, len(test) - 1, min(len(test), options.draws)).round().long()]


def draw(law: Distribution, held: Batch, seed: int) -> tuple[Batch, int]:
    """One item for each held-out one, under its condition and with its holes; and the network evaluations of each."""
    if law.given_space is None:
        draws = law.sample(len(held), seed=seed)
        x = draws.x
        length = draws.length
    else:
        draws = law.sample(1, given=held.given, seed=seed)
        x = draws.x[0]
        length = None if draws.length is None else draws.length[0]
    if not bool(torch.isfinite(x).all()):
        raise LikenessError(
            f"{int((~torch.isfinite(x)).flatten(1).any(1).sum())} of {len(x)} draws are not finite"
        )
    drawn = Batch(
        x.double().cpu(), length=None if length is None else length.cpu(), given=held.given
    )
    return (drawn if held.observed is None else drawn.hide(held.holes)), draws.evaluations


def answers(law: Distribution) -> dict[str, str]:
    """Every verb, with the routes that answer it or the reason why none does."""
    verbs = (
        "sample",
        "log_prob",
        "complete",
        "mode",
        "encode",
        "decode",
        "classify",
        "anomaly_score",
        "p_value",
    )
    answer = {verb: law.support(verb) for verb in verbs}
    return {v: ", ".join(a.routes) if a else f"no: {a.why}" for v, a in answer.items()}


def size(law: Distribution) -> int:
    """Free parameters; a baseline has none."""
    if isinstance(law, Model):
        return law.count()
    return 0


def _likelihood(law: Distribution, test: Batch, seed: int, options: Options) -> LogProb:
    scored = law.log_prob(test, given=test.given, effort=options.effort, seed=seed)
    value = scored.value.double().cpu()
    if bool(torch.isnan(value).any()):
        raise LikenessError(
            f"log p of {int(torch.isnan(value).sum())} of {len(value)} items is not a number"
        )
    return replace(scored, value=value, dims=None if scored.dims is None else scored.dims.cpu())


def _told_apart(
    space: Space, view: View, held: Batch, drawn: Batch, seed: int, options: Options
) -> Interval:
    table = len(space.shape) == 1 and not space.ragged and space.dims <= TREES
    x = view.joint_entries(held)
    y = view.joint_entries(drawn)
    classifier = boosted_trees if table else small_network
    return c2st(x, y, seed=seed % 2**32, classifier=classifier, folds=FOLDS, level=options.level)


def classifier_in_words(space: Space) -> str:
    """Which classifier `c2st` takes for these items."""
    table = len(space.shape) == 1 and not space.ragged and space.dims <= TREES
    if table:
        return "boosted trees"
    return "a network of two hidden layers"


def _audit(
    view: View, split: Split, held: Batch, drawn: Batch, seed: int, options: Options
) -> Audit:
    """Of the items alone, whatever is given: a training item handed out under another condition is a copy too."""
    near = (view.items(drawn), view.items(split.train.batch), view.items(held))
    return memorisation_audit(*near, seed=seed, k=options.pairs, draws=500, level=options.level)


def copied(law: Distribution, train: Source, held: Batch, seed: int) -> Audit:
    """What the nearest training items say of one draw beside each held-out item: one audit by itself."""
    drawn, _ = draw(law, held, seed)
    seen = view(train)
    return memorisation_audit(
        seen.items(drawn), seen.items(train.batch), seen.items(held), seed=seed, draws=500
    )


def _rate(law: Distribution, held: Batch, n: int, seed: int) -> list[float] | Absent:
    """Items a second, a number for each timing; the first draw warms up and counts only where it is slow."""
    if law.given_space is None or held.given is None:
        given = None
    else:
        given = held.given[torch.arange(n) % len(held)]

    def once(first: int) -> float:
        start = time.perf_counter()
        law.sample(n, seed=seed, first=first) if given is None else law.sample(
            1, given=given, seed=seed, first=first
        )
        _wait(law)
        return n / (time.perf_counter() - start)

    def repeated() -> list[float]:
        warm = once(0)
        start = time.perf_counter()
        rates = list[float]()
        while len(rates) < REPEATS and (len(rates) < 2 or time.perf_counter() - start < PATIENCE):
            if n / warm > PATIENCE and rates:
                return [warm, *rates]
            rates.append(once(n * (len(rates) + 1)))
        return rates

    return tried(repeated)


def _wait(law: Distribution) -> None:
    if law.device.type == "cuda":
        torch.cuda.synchronize(law.device)


__all__ = ["Absent", "Scores", "answers", "draw", "held_out", "score", "size", "tried"]
