"""What the experiments of `python -m bench.options` learn from, and the numbers that they read off what was learned."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, cast

import torch
from torch import Tensor

from likeness import registry
from likeness.api import load
from likeness.core.batch import Batch
from likeness.core.distribution import Distribution
from likeness.core.model import Model
from likeness.core.noise import Noise
from likeness.core.space import Count, Nominal, Space, binary, sequence, series, vector
from likeness.data.source import Table
from likeness.data.synthetic import SyntheticDistribution, world
from likeness.families.vi import register_density
from likeness.learn.fit import parts, start
from likeness.learn.run import Run
from likeness.metrics import quality
from likeness.metrics.distance import energy_distance

FRESH, FIRST, SEED = (
    2000,
    10_000_000,
    1,
)  # rows to score on: items of a seed and places that no fit has seen
DRAWN = 4000


@dataclass(frozen=True, eq=False)
class Data:
    """Rows to learn from by the fit's seed, rows to score on, and the law of both where it is known."""

    words: str
    train: Callable[[int], Table]
    test: Batch
    truth: Distribution | None = None


@dataclass(frozen=True, eq=False)
class Fitted:
    """A model, what it learned from and how it went."""

    model: Model
    run: Run
    data: Data
    milliseconds: float  # of processor time a step


def fitted(
    family: str, data: Data, options: dict[str, Any], steps: int | str, seed: int, held: float
) -> Fitted:
    """A model of a family after so many steps; `held` is the share of the rows that validation takes."""
    train, aside = parts(data.train(seed), held, seed) if held else (data.train(seed), None)
    run = Run(start(family, options, train, seed=seed), train, steps, seed, holdout=aside)
    begun = time.process_time()
    model = run.fit()
    return Fitted(model, run, data, 1e3 * (time.process_time() - begun) / run.iteration)


# ---- densities, for what learns from no data -----------------------------------------------------------------------


@register_density
def correlated(z: Tensor) -> Tensor:
    """A Gaussian of two entries, correlation 0.8, means 3 and -1: its evidence is 1."""
    centred = z - torch.tensor([3.0, -1.0]).to(z)
    first, second = centred[:, 0], (centred[:, 1] - 0.8 * centred[:, 0]) / 0.6
    return -0.5 * (first.square() + second.square()) - math.log(2 * math.pi * 0.6)


@register_density
def heavy(z: Tensor) -> Tensor:
    """Two independent laws of Student with two degrees of freedom: its evidence is 1."""
    return (-1.5 * (1 + z.square() / 2).log() - math.log(2 * math.sqrt(2))).sum(-1)


def _unseen(entries: int) -> Data:
    """Rows that say what z is and that nothing is learned from."""
    rows = Batch(torch.zeros(64, entries))
    return Data(f"a density of {entries} numbers", lambda _seed: Table(vector(entries), rows), rows)


# ---- data ----------------------------------------------------------------------------------------------------------


def _of(name: str, rows: int, *, hidden: float = 0.0, fresh: int = FRESH, **options: Any) -> Data:
    """Points of a world."""
    truth: SyntheticDistribution = world(name, **options)
    told = ", ".join(f"{k}={v}" for k, v in options.items()) + (
        f", {hidden:.0%} hidden" if hidden else ""
    )

    def train(seed: int) -> Table:
        table = truth.source(rows, seed)
        gone = (
            Noise(seed, table.batch.ids, scope="holes").uniform("holes", *table.space.layout)
            < hidden
        )
        return (
            Table(table.space, table.batch.hide(gone), table.given_space, name) if hidden else table
        )

    words = f"{rows:,} points of the world `{name}`" + (f" ({told})" if told else "")
    return Data(words, train, truth.source(fresh, SEED, first=FIRST).batch, truth)


def _digits(rows: int | None = None, *, given: str | None = None) -> Data:
    """Scikit-learn's digits at two levels, a quarter of them to score on."""
    found = load("digits", test=0.25, binarize="threshold", given=given)
    train = found.train if rows is None else found.train.take(torch.arange(rows))
    count = f"{len(train):,} digits of 8x8 black or white pixels" + (
        ", with their class" if given else ""
    )
    return Data(count, lambda _seed: train, found.test.batch)


def _words(rows: int, longest: int = 10) -> Data:
    """Letters that tend to repeat, each word ended by its first 0 or by its size."""

    def draw(count: int, seed: int) -> Batch:
        u = Noise(seed, torch.arange(count), scope="words").uniform("u", longest, 2)
        steps = [(u[:, 0, 1] * 4).long()]
        for t in range(1, longest):
            steps.append(torch.where(u[:, t, 0] < 0.5, steps[-1], (u[:, t, 1] * 4).long()))
        x = torch.stack(steps, -1)
        length = torch.where((x == 0).any(-1), (x == 0).long().argmax(-1) + 1, longest)
        return Batch(x * (torch.arange(longest) < length[:, None]).float(), length=length)

    words = f"{rows:,} words of 4 letters that end with their first 0 or at {longest} letters"
    return Data(
        words, lambda seed: Table(sequence(4, longest), draw(rows, seed)), draw(FRESH, 1000)
    )


def _two_chains(rows: int) -> Data:
    """Eight bits, half of the rows such that each tends to repeat the one before, half such that it tends not to."""

    def draw(count: int, seed: int) -> Batch:
        u = Noise(seed, torch.arange(count), scope="chains").uniform("u", 9)
        turns = (u[:, 1:8] < 0.15) ^ (u[:, :1] < 0.5)
        return Batch(torch.cat([u[:, 8:] < 0.5, turns], 1).cumsum(1) % 2 * 1.0)

    words = f"{rows:,} rows of eight bits, each repeating the one before in half of the rows, turning it in the others"
    return Data(words, lambda seed: Table(vector(8, binary()), draw(rows, seed)), draw(FRESH, 1000))


def _visits(rows: int) -> Data:
    """Counts of four things in each of two groups, each of which is not counted at all in two rows of five."""

    def draw(count: int, seed: int) -> Batch:
        noise = Noise(seed, torch.arange(count), scope="visits")
        u = noise.uniform("u", 9)
        rate = torch.tensor([[2.0, 2.0, 9.0, 9.0], [9.0, 9.0, 2.0, 2.0]])[(u[:, 0] < 0.5).long()]
        counts = torch.distributions.Poisson(rate)
        levels = counts.log_prob(torch.arange(40.0)[:, None, None]).exp().cumsum(0)
        x = (levels < u[:, 1:5]).sum(0).double()
        return Batch(torch.where(u[:, 5:] < 0.4, 0.0, x))

    words = (
        f"{rows:,} rows of four counts, Poisson in each of two groups, with two more zeros in five"
    )
    return Data(words, lambda seed: Table(vector(4, Count()), draw(rows, seed)), draw(FRESH, 1000))


def _regimes(
    rows: int,
    topology: str = "full",
    kind: Literal["reals", "counts", "symbols"] = "reals",
    steps: int = 30,
) -> Data:
    """Series of a hidden Markov model of four states whose numbers are drawn once for all."""
    g = torch.Generator().manual_seed(4)
    spaces = {
        "reals": series(2, steps),
        "counts": series(1, steps, Count()),
        "symbols": sequence(8, steps),
    }
    law: Any = registry.build("hmm", {"states": 4, "topology": topology}, spaces[kind]).double()
    stay = torch.where(law.allowed, 1.0, 0.0).double()
    law.log_step = ((stay / stay.sum(-1, keepdim=True) + 3 * torch.eye(4).double()) / 4).log()
    law.lengths[-1] = 1
    if kind == "reals":
        law.x_mean = 1.5 * torch.randn(4, 2, generator=g).double()
        root = torch.randn(4, 2, 2, generator=g).double()
        law.x_cov = root @ root.mT * 0.5 + 0.1 * torch.eye(2).double()
    elif kind == "counts":
        law.x_table = torch.tensor([0.0, 1.2, 2.0, 2.8]).double()[:, None]
    else:
        law.x_table = (1.5 * torch.randn(4, 8, generator=g)).double().log_softmax(-1)
    words = f"{rows:,} series of {steps} steps ({kind}), four states behind them"

    def draw(count: int, first: int, seed: int) -> Batch:
        return law.sample(count, seed=seed, first=first).batch

    return Data(
        words, lambda seed: Table(law.space, draw(rows, 0, seed)), draw(FRESH, FIRST, SEED), law
    )


def _swings(
    rows: int, kind: Literal["own noise", "common noise", "growing"] = "own noise", steps: int = 30
) -> Data:
    """Series of two oscillators, of periods 12 and 5, seen in three numbers."""
    options = {"latents": 4, "noise": "full" if kind == "common noise" else "diagonal"}
    law: Any = registry.build("linear_dynamical", options, series(3, steps)).double()
    angle = 2 * math.pi / torch.tensor([12.0, 5.0], dtype=torch.float64)
    turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], -1).unflatten(
        -1, (2, 2)
    )
    law.step = (1.05 if kind == "growing" else 0.96) * torch.block_diag(*turn)
    law.step_cov = 0.05 * torch.eye(4).double()
    law.load = torch.tensor([[1.0, 0, 0.5, 0], [0.5, 1, 0, 0], [0, 0.5, 1, 0.5]]).double()
    law.noise = (
        0.2 * (torch.eye(3).double() + 1)
        if kind == "common noise"
        else torch.full((3,), 0.2).double()
    )
    law.lengths[-1] = 1
    words = f"{rows:,} series of {steps} steps, two oscillators behind them ({kind})"

    def draw(count: int, first: int, seed: int) -> Batch:
        return law.sample(count, seed=seed, first=first).batch

    return Data(
        words, lambda seed: Table(law.space, draw(rows, 0, seed)), draw(FRESH, FIRST, SEED), law
    )


def _squares(rows: int, words: int = 40) -> Data:
    """Documents of ten topics, the rows and columns of a square of 25 words (Griffiths & Steyvers 2004)."""
    topics = torch.zeros(10, 5, 5, dtype=torch.float64)
    for i in range(5):
        topics[i, i] = topics[5 + i, :, i] = 1 / 5
    law: Any = registry.build("topic", {"topics": 10}, sequence(25, words)).double()
    law.weights, law.alpha = (
        topics.flatten(1).T.contiguous(),
        torch.full((10,), 0.3, dtype=torch.float64),
    )
    law.lengths[-1] = 1

    def draw(count: int, seed: int) -> Table:
        return Table(law.space, law.sample(count, seed=seed).batch)

    words_of = f"{rows:,} documents of {words} words out of 25, ten topics behind them"
    return Data(words_of, lambda seed: draw(rows, seed), draw(FRESH, SEED + 1000).batch)


def _tags(rows: int, *, longest: int = 12, words: int = 200) -> Data:
    """Tags that follow the word, the word before and the tag before."""
    g = torch.Generator().manual_seed(5)
    own, before = (torch.randn(words, 4, generator=g) * s for s in (1.5, 1.0))
    stay, often = 2 * torch.eye(4), 1 / torch.arange(1, words + 1)
    given = Space(axes=("time", "column"), shape=(None, 1), variables=(Nominal(categories=words),), names=("word",),
                  longest=longest)  # fmt: skip

    def draw(count: int, seed: int) -> Batch:
        chance = torch.Generator().manual_seed(seed)
        word = torch.multinomial(
            often.expand(count, -1), longest, replacement=True, generator=chance
        )
        noise = -torch.empty(count, longest, 4).exponential_(generator=chance).log()
        tag = [(own[word[:, 0]] + noise[:, 0]).argmax(-1)]
        for t in range(1, longest):
            worth = own[word[:, t]] + before[word[:, t - 1]] + stay[tag[-1]]
            tag.append((worth + noise[:, t]).argmax(-1))
        length = torch.randint(1, longest + 1, (count,), generator=chance)
        inside = torch.arange(longest) < length[:, None]
        told = Batch((word * inside).float()[..., None], length=length)
        return Batch((torch.stack(tag, 1) * inside).float(), length=length, given=told)

    text = f"{rows:,} items of up to {longest} words of {words}, each with one of 4 tags"
    space = sequence(4, longest)
    return Data(text, lambda seed: Table(space, draw(rows, seed), given), draw(FRESH, 1000))


DATA: dict[str, Callable[[], Data]] = {
    "two latents": lambda: _unseen(2),
    "tags": lambda: _tags(1000),
    "tags, few": lambda: _tags(150),
    "squares": lambda: _squares(500),
    "squares, few": lambda: _squares(40),
    "swings": lambda: _swings(200),
    "swings, few": lambda: _swings(8),
    "swings in common noise": lambda: _swings(200, "common noise"),
    "swings that grow": lambda: _swings(200, "growing"),
    "regimes": lambda: _regimes(300),
    "regimes, few": lambda: _regimes(12),
    "regimes in a cycle": lambda: _regimes(40, "cycle"),
    "regimes of counts": lambda: _regimes(60, kind="counts"),
    "regimes of symbols": lambda: _regimes(40, kind="symbols"),
    "ring": lambda: _of("ring", 5000),
    "ring of 100": lambda: _of("ring", 100),
    "narrow ring": lambda: _of("ring", 20_000, sigma=0.02),
    "grid": lambda: _of("grid", 10_000),
    "banana": lambda: _of("banana", 5000),
    "funnel": lambda: _of("funnel", 5000, n=4),
    "checkerboard": lambda: _of("checkerboard", 20_000),
    "moons": lambda: _of("moons", 5000, fresh=600),
    "pinwheel": lambda: _of("pinwheel", 5000),
    "gaussian": lambda: _of("gaussian", 2000),
    "gaussian of 60": lambda: _of("gaussian", 60, n=20),
    "gaussian with holes": lambda: _of("gaussian", 500, n=5, hidden=0.4),
    "directions": lambda: _of("linear_gaussian", 2000, n=8, latents=3),
    "directions of 40": lambda: _of("linear_gaussian", 40, n=8, latents=3),
    "directions with holes": lambda: _of("linear_gaussian", 1000, n=8, latents=3, hidden=0.4),
    "unlike": lambda: _of("mixture5", 2000),
    "unlike classes": lambda: _of("mixture5", 2000, given="label"),
    "few of unlike classes": lambda: _of("mixture5", 150, given="label"),
    "regression": lambda: _of("regression", 3000),
    "pictured": lambda: _of("ring", 200, given="image"),
    "chain": lambda: _of("chain", 2000),
    "chain of 300": lambda: _of("chain", 300),
    "two chains": lambda: _two_chains(1000),
    "visits": lambda: _visits(1000),
    "chain of 40": lambda: _of("chain", 40),
    "digits": _digits,
    "100 digits": lambda: _digits(100),
    "digits and class": lambda: _digits(given="label"),
    "words": lambda: _words(2000),
    "words of 40": lambda: _words(40),
    "chain with holes": lambda: _of("chain", 500, hidden=0.4),
}


@cache
def data(name: str) -> Data:
    """The data of that name."""
    return DATA[name]()


# ---- numbers -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Number:
    """What is read off a fit: a value of every row that is scored on, (B,), or one of all, ()."""

    words: str
    of: Callable[[Fitted], Tensor]


def _log_p(f: Fitted, batch: Batch, **settings: Any) -> Tensor:
    return f.model.log_prob(batch, seed=0, settings=settings or None).value.double()


def _kl(f: Fitted, **settings: Any) -> Tensor:
    assert f.data.truth is not None
    return f.data.truth.log_prob(f.data.test, seed=0).value.double() - _log_p(
        f, f.data.test, **settings
    )


def _unconditional(f: Fitted) -> Tensor:
    """KL where the condition is hidden, whole."""
    given, truth = f.data.test.given, f.data.truth
    assert given is not None
    assert truth is not None
    blind = f.data.test.given_as(given.hide(torch.ones_like(given.x, dtype=torch.bool)))
    return truth.log_prob(blind, seed=0).value.double() - _log_p(f, blind)


def _halved(batch: Batch) -> Batch:
    """Rows with half of their entries hidden."""
    return batch.hide(Noise(0, batch.ids, scope="half").uniform("u", *batch.x.shape[1:]) < 0.5)


def _drawn(f: Fitted) -> Tensor:
    return f.model.sample(DRAWN, seed=0).x.double()


def _energy(f: Fitted) -> Tensor:
    return torch.tensor(
        energy_distance(_drawn(f).flatten(1), f.data.test.x.double().flatten(1)).value
    )


def _modes(f: Fitted) -> quality.Modes:
    truth: Any = f.data.truth
    return quality.modes(_drawn(f), truth.centres, truth.sigma)


def _steepness(f: Fitted) -> Tensor:
    """The norm of the critic's gradient at rows of data, in model units."""
    model: Any = f.model
    noise = Noise(0, f.data.test.ids, scope="steep", dtype=model.dtype)
    inside = model.inputs(f.data.test.to(dtype=model.dtype), noise)[0]
    x = inside.x.detach().requires_grad_()
    score = model._critic_score(inside.with_x(x), noise)
    return torch.autograd.grad(score.sum(), x)[0].flatten(1).norm(dim=-1).detach()


def _rate(f: Fitted) -> Tensor:
    terms = f.model.log_prob(f.data.test, seed=0).terms
    assert terms is not None
    return -terms["kl"].double()


def _used(f: Fitted) -> Tensor:
    """Numbers of a code whose mean varies over rows by more than 0.01 (Burda et al. 2016, section 5.2)."""
    codes: Any = f.model.encode(f.data.test, seed=0)
    return (codes.mean.var(0) > 0.01).double().sum()


def _stderr(f: Fitted) -> Tensor:
    """The standard error of log p of what is left when half of the entries are hidden."""
    found = f.model.log_prob(_halved(f.data.test), seed=0).stderr
    return torch.zeros(len(f.data.test)) if found is None else found.double()


def _bits(f: Fitted) -> Tensor:
    return f.model.log_prob(f.data.test, seed=0).bits_per_dim.double()


def _norm(f: Fitted) -> Tensor:
    """The largest gradient that a step was taken by."""
    return torch.tensor(
        max(min(e.facts["gradient norm"], f.model.config.clip) for e in f.run.events)
    )


def _one(value: Callable[[Fitted], float]) -> Callable[[Fitted], Tensor]:
    return lambda f: torch.tensor(float(value(f)))


def _gap(f: Fitted) -> Tensor:
    """What the bound lacks of an evidence of 1, nats."""
    model: Any = f.model
    return -model.bound(20_000, seed=0).value


NUMBERS = {
    "gap": Number("evidence less its bound, nats", _gap),
    "tail": Number(
        "Pareto k of the weights", _one(lambda f: cast("Any", f.model).pareto_k(20_000, seed=0))
    ),
    "KL": Number("KL(world to model), nats", _kl),
    "KL, bound": Number(
        "KL(world to model) by the bound, nats", lambda f: _kl(f, likelihood="bound")
    ),
    "KL, nothing given": Number("the same where the condition is missing, nats", _unconditional),
    "nats": Number("-log p of fresh rows, nats", lambda f: -_log_p(f, f.data.test)),
    "nats, holes": Number(
        "-log p of fresh rows with half of the entries hidden, nats",
        lambda f: -_log_p(f, _halved(f.data.test)),
    ),
    "bits": Number("-log p of fresh rows, bits an entry", _bits),
    "stderr": Number(
        "standard error of log p of a row with half of its entries hidden, nats", _stderr
    ),
    "energy": Number(f"energy distance of {DRAWN:,} draws to fresh rows", _energy),
    "modes": Number("modes captured", _one(lambda f: _modes(f).captured)),
    "quality": Number(
        "share of draws within 3 sigma of a mode", _one(lambda f: _modes(f).high_quality.value)
    ),
    "width": Number("deviation within modes over the truth's", _one(lambda f: _modes(f).width)),
    "uneven": Number("KL(draws by mode to uniform), nats", _one(lambda f: _modes(f).kl_uniform)),
    "slope": Number("norm of the critic's gradient at data", _steepness),
    "rate": Number("KL(code to standard normal), nats", _rate),
    "used": Number("numbers of the code in use", _used),
    "step": Number("largest gradient norm that a step was taken by", _norm),
    "ms": Number("milliseconds a step", _one(lambda f: f.milliseconds)),
    "steps": Number("steps or passes taken", _one(lambda f: f.run.iteration)),
    "calls": Number(
        "passes of the net for a draw", _one(lambda f: f.model.sample(1, seed=0).evaluations)
    ),
}
