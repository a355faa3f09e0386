"""What the experiments of `python -m bench.options` learn from, and the numbers that they read off what was learned."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor

from likeness.core import registry
from likeness.core.batch import Batch
from likeness.core.law import Law
from likeness.core.model import Model
from likeness.core.noise import Noise
from likeness.core.space import Count, binary, sequence, series, vector
from likeness.data.load import load
from likeness.data.source import Table
from likeness.data.worlds import World, world
from likeness.learn.fit import parts, start
from likeness.learn.run import Run
from likeness.metrics import quality
from likeness.metrics.distance import energy_distance

FRESH, FIRST, SEED = 2000, 10_000_000, 1  # rows to score on: items of a seed and places that no fit has seen
DRAWN = 4000


@dataclass(frozen=True, eq=False)
class Data:
    """Rows to learn from by the fit's seed, rows to score on, and the law of both where it is known."""

    words: str
    train: Callable[[int], Table]
    test: Batch
    truth: Law | None = None


@dataclass(frozen=True, eq=False)
class Fitted:
    """A model, what it learned from and how it went."""

    model: Model
    run: Run
    data: Data
    milliseconds: float  # of processor time a step


def fitted(family: str, data: Data, options: dict[str, Any], steps: int | str, seed: int, held: float) -> Fitted:
    """A model of a family after so many steps; `held` is the share of the rows that validation takes."""
    train, aside = parts(data.train(seed), held, seed) if held else (data.train(seed), None)
    run = Run(start(family, options, train, seed=seed), train, steps, seed, holdout=aside)
    begun = time.process_time()
    model = run.fit()
    return Fitted(model, run, data, 1e3 * (time.process_time() - begun) / run.iteration)


# ---- data ----------------------------------------------------------------------------------------------------------


def _of(name: str, rows: int, *, hidden: float = 0.0, fresh: int = FRESH, **options: Any) -> Data:
    """Points of a world."""
    truth: World = world(name, **options)
    told = ", ".join(f"{k}={v}" for k, v in options.items()) + (f", {hidden:.0%} hidden" if hidden else "")

    def train(seed: int) -> Table:
        table = truth.source(rows, seed)
        gone = Noise(seed, table.batch.ids, scope="holes").uniform("holes", *table.space.layout) < hidden
        return Table(table.space, table.batch.hide(gone), table.given_space, name) if hidden else table

    words = f"{rows:,} points of the world `{name}`" + (f" ({told})" if told else "")
    return Data(words, train, truth.source(fresh, SEED, first=FIRST).batch, truth)


def _digits(rows: int | None = None, *, given: str | None = None) -> Data:
    """Scikit-learn's digits at two levels, a quarter of them to score on."""
    found = load("digits", test=0.25, binarize="threshold", given=given)
    train = found.train if rows is None else found.train.take(torch.arange(rows))
    count = f"{len(train):,} digits of 8x8 black or white pixels" + (", with their class" if given else "")
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
    return Data(words, lambda seed: Table(sequence(4, longest), draw(rows, seed)), draw(FRESH, 1000))


def _two_chains(rows: int) -> Data:
    """Eight bits, half of the rows such that each tends to repeat the one before, half such that it tends not to."""

    def draw(count: int, seed: int) -> Batch:
        u = Noise(seed, torch.arange(count), scope="chains").uniform("u", 9)
        turns = (u[:, 1:8] < 0.15) ^ (u[:, :1] < 0.5)
        return Batch(torch.cat([u[:, 8:] < 0.5, turns], 1).cumsum(1) % 2 * 1.0)

    words = f"{rows:,} rows of eight bits, each repeating the one before in half of the rows, turning it in the others"
    return Data(words, lambda seed: Table(vector(8, binary()), draw(rows, seed)), draw(FRESH, 1000))


def _regimes(
    rows: int, topology: str = "full", kind: Literal["reals", "counts", "symbols"] = "reals", steps: int = 30
) -> Data:
    """Series of a hidden Markov model of four states whose numbers are drawn once for all."""
    g = torch.Generator().manual_seed(4)
    spaces = {"reals": series(2, steps), "counts": series(1, steps, Count()), "symbols": sequence(8, steps)}
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

    return Data(words, lambda seed: Table(law.space, draw(rows, 0, seed)), draw(FRESH, FIRST, SEED), law)


DATA: dict[str, Callable[[], Data]] = {
    "regimes": lambda: _regimes(300),
    "regimes, few": lambda: _regimes(12),
    "regimes in a cycle, few": lambda: _regimes(6, "cycle"),
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
    "chain of 40": lambda: _of("chain", 40),
    "digits": _digits,
    "100 digits": lambda: _digits(100),
    "digits and class": lambda: _digits(given="label"),
    "words": lambda: _words(2000),
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
    return f.data.truth.log_prob(f.data.test, seed=0).value.double() - _log_p(f, f.data.test, **settings)


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
    return torch.tensor(energy_distance(_drawn(f).flatten(1), f.data.test.x.double().flatten(1)).value)


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
    return torch.tensor(max(min(e.facts["gradient norm"], f.model.config.clip) for e in f.run.events))


def _one(value: Callable[[Fitted], float]) -> Callable[[Fitted], Tensor]:
    return lambda f: torch.tensor(float(value(f)))


NUMBERS = {
    "KL": Number("KL(world to model), nats", _kl),
    "KL, bound": Number("KL(world to model) by the bound, nats", lambda f: _kl(f, likelihood="bound")),
    "KL, nothing given": Number("the same where the condition is missing, nats", _unconditional),
    "nats": Number("-log p of fresh rows, nats", lambda f: -_log_p(f, f.data.test)),
    "nats, holes": Number(
        "-log p of fresh rows with half of the entries hidden, nats", lambda f: -_log_p(f, _halved(f.data.test))
    ),
    "bits": Number("-log p of fresh rows, bits an entry", _bits),
    "stderr": Number("standard error of log p of a row with half of its entries hidden, nats", _stderr),
    "energy": Number(f"energy distance of {DRAWN:,} draws to fresh rows", _energy),
    "modes": Number("modes captured", _one(lambda f: _modes(f).captured)),
    "quality": Number("share of draws within 3 sigma of a mode", _one(lambda f: _modes(f).high_quality.value)),
    "width": Number("deviation within modes over the truth's", _one(lambda f: _modes(f).width)),
    "uneven": Number("KL(draws by mode to uniform), nats", _one(lambda f: _modes(f).kl_uniform)),
    "slope": Number("norm of the critic's gradient at data", _steepness),
    "rate": Number("KL(code to standard normal), nats", _rate),
    "used": Number("numbers of the code in use", _used),
    "step": Number("largest gradient norm that a step was taken by", _norm),
    "ms": Number("milliseconds a step", _one(lambda f: f.milliseconds)),
    "steps": Number("steps or passes taken", _one(lambda f: f.run.iteration)),
    "calls": Number("passes of the net for a draw", _one(lambda f: f.model.sample(1, seed=0).evaluations)),
}
