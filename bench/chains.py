"""Times Markov chains beside pomegranate's and linear dynamical systems beside pykalman's and statsmodels'.

    python -m bench.chains [--case symbols1] ... [--repeats 5]

Chains of symbols are fitted by maximum likelihood, no smoothing. Linear systems begin at the same parameters and take
the same passes of EM, under any covariance of what is seen; likelihoods and smoothed states are of equal parameters.
One thread, processor time, in turns; the median ratio over repeats and its range are printed, then how far apart the
answers are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from pomegranate.markov_chain import MarkovChain
from pykalman import KalmanFilter
from statsmodels.tsa.statespace.kalman_smoother import KalmanSmoother

from bench import turns
from bench.turns import Case
from likeness import registry
from likeness.core.batch import Batch
from likeness.core.space import Nominal, Space, series
from likeness.data.source import Table
from likeness.families.linear_dynamical import NAMES
from likeness.inference.state_space.kalman import Track
from likeness.inference.state_space.observations import System
from likeness.learn.run import Run

PASSES = 3
SYMBOLS, STEPS = 6, 50

# ---- symbols -------------------------------------------------------------------------------------------------------


def codes(n: int) -> np.ndarray:
    """Sequences (n, STEPS) of symbols that mostly follow from the two before them."""
    g = np.random.default_rng(0)
    x = g.integers(SYMBOLS, size=(n, STEPS))
    for t in range(2, STEPS):
        x[:, t] = np.where(g.random(n) < 0.5, (x[:, t - 1] + 2 * x[:, t - 2]) % SYMBOLS, x[:, t])
    return x


def chain(x: np.ndarray, order: int) -> Any:
    """`markov` of plain rows of one length."""
    space = Space(axes=("time",), shape=(STEPS,), variables=(Nominal(categories=SYMBOLS),))
    data = Table(space, Batch(torch.from_numpy(x.astype(float))))
    return Run(
        registry.build("markov", {"order": order, "smoothing": 0}, space).double(), data, 100
    ).fit()


def symbols(order: int, n: int = 20_000) -> Case:
    """Counting."""
    x = codes(n)
    told = torch.from_numpy(x[..., None])

    def gap(a: Any, b: MarkovChain) -> str:
        mine = np.asarray(a.log_prob(x[:100].astype(float)).value)
        return f"log p a row at most {np.abs(mine - b.log_probability(told[:100]).numpy()).max():.1e} apart"

    return Case(
        f"chain of order {order}, {n:,} x {STEPS}, {SYMBOLS} symbols, fit",
        lambda: chain(x, order), lambda: MarkovChain(k=order).fit(told), gap, "pomegranate",
    )  # fmt: skip


def densities(order: int, n: int = 500) -> Case:
    """log p of rows; theirs goes row by row."""
    x = codes(20_000)
    mine, theirs = chain(x, order), MarkovChain(k=order).fit(torch.from_numpy(x[..., None]))
    few, told = x[:n].astype(float), torch.from_numpy(x[:n, :, None])
    return Case(
        f"chain of order {order}, log p of {n:,} x {STEPS}",
        lambda: np.asarray(mine.log_prob(few).value), lambda: theirs.log_probability(told).numpy(),
        lambda a, b: f"log p a row at most {np.abs(a - b).max():.1e} apart (theirs in single precision)", "pomegranate",
    )  # fmt: skip


# ---- numbers -------------------------------------------------------------------------------------------------------


def system(q: int, c: int, seed: int = 0) -> dict[str, np.ndarray]:
    """A stable system, by the names that the family has for it."""
    g = np.random.default_rng(seed)
    turn = np.linalg.qr(g.normal(size=(q, q)))[0]
    return {
        "first_mean": np.zeros(q), "first_cov": np.eye(q), "step": 0.95 * turn, "drift": np.zeros(q),
        "step_cov": 0.3 * np.eye(q), "load": g.normal(size=(c, q)), "offset": np.zeros(c), "noise": 0.5 * np.eye(c),
    }  # fmt: skip


def paths(n: int, steps: int, q: int, c: int) -> np.ndarray:
    """Series (n, steps, c) of such a system of another seed."""
    s, g = system(q, c, 1), np.random.default_rng(2)
    z, x = g.normal(size=(n, q)), np.empty((n, steps, c))
    for t in range(steps):
        x[:, t] = z @ s["load"].T + np.sqrt(0.5) * g.normal(size=(n, c))
        z = z @ s["step"].T + np.sqrt(0.3) * g.normal(size=(n, q))
    return x


def ours(x: np.ndarray, begin: dict[str, np.ndarray]) -> System:
    """Where so many passes of `linear_dynamical` lead."""
    n, steps, c = x.shape
    options = {
        "latents": len(begin["step"]),
        "noise": "full",
        "stable": False,
        "smoothing": 0,
        "floor": 1e-12,
    }
    model: Any = registry.build("linear_dynamical", options, series(c, steps)).double()
    batch = Batch(torch.from_numpy(x), length=torch.full((n,), steps))
    now = {name: torch.from_numpy(value) for name, value in begin.items()}
    for _ in range(PASSES):
        now = model._maximise(model._expect(batch, now), now)
    return System(*(now[name] for name in NAMES))


def kalman(begin: dict[str, np.ndarray]) -> KalmanFilter:
    """pykalman's, at these parameters."""
    return KalmanFilter(*(begin[n] for n in ("step", "load", "step_cov", "noise", "drift", "offset")),
                        begin["first_mean"], begin["first_cov"], em_vars="all")  # fmt: skip


def smoother(begin: dict[str, np.ndarray], x: np.ndarray) -> KalmanSmoother:
    """statsmodels', at these parameters, for one series: bound to another it would answer for the first again."""
    c, q = begin["load"].shape
    found = KalmanSmoother(k_endog=c, k_states=q)
    found["design"], found["obs_cov"], found["transition"] = (
        begin["load"],
        begin["noise"],
        begin["step"],
    )
    found["selection"], found["state_cov"] = np.eye(q), begin["step_cov"]
    found.initialize_known(begin["first_mean"], begin["first_cov"])
    found.bind(x)
    return found


def track(x: np.ndarray, begin: dict[str, np.ndarray]) -> Track:
    """Ours, at these parameters."""
    v = torch.from_numpy(x)
    return Track(
        System(*(torch.from_numpy(begin[n]) for n in NAMES)),
        v,
        torch.ones_like(v, dtype=torch.bool),
    )


def log_likelihood(s: System, x: np.ndarray) -> float:
    """Of all of x, nats a step."""
    v = torch.from_numpy(x)
    return float(Track(s, v, torch.ones_like(v, dtype=torch.bool)).log_z.sum()) / (
        x.shape[0] * x.shape[1]
    )


def told(model: KalmanFilter) -> System:
    """pykalman's parameters in our terms."""
    found = (model.initial_state_mean, model.initial_state_covariance, model.transition_matrices,
             model.transition_offsets, model.transition_covariance, model.observation_matrices,
             model.observation_offsets, model.observation_covariance)  # fmt: skip
    return System(*(torch.from_numpy(np.asarray(a)) for a in found))


def em(steps: int, q: int, c: int) -> Case:
    """Passes of EM over one series: pykalman takes no more than one. Its offsets follow the matrices, ours go along."""
    x, begin = paths(1, steps, q, c), system(q, c)

    def gap(a: System, b: KalmanFilter) -> str:
        return f"ours {log_likelihood(a, x) - log_likelihood(told(b), x):+.1e} nats a step"

    return Case(f"linear system, {steps:,} steps of {c}, {q} latents, {PASSES} passes", lambda: ours(x, begin),
                lambda: kalman(begin).em(x[0], n_iter=PASSES), gap, "pykalman")  # fmt: skip


def likelihood(n: int, steps: int, q: int, c: int, peer: str) -> Case:
    """log p of each series."""
    x, begin = paths(n, steps, q, c), system(q, c)

    def statsmodels() -> np.ndarray:
        return np.array([smoother(begin, one).loglike() for one in x])

    def pykalman() -> np.ndarray:
        found = kalman(begin)
        return np.array([found.loglikelihood(one) for one in x])

    def mine() -> np.ndarray:
        return track(x, begin).log_z.numpy()

    return Case(f"linear system, log p, {n} x {steps:,} steps of {c}, {q} latents", mine,
                statsmodels if peer == "statsmodels" else pykalman,
                lambda a, b: f"log p a series at most {np.abs(a - b).max():.1e} nats apart", peer)  # fmt: skip


def states(n: int, steps: int, q: int, c: int, peer: str) -> Case:
    """Smoothed means and covariances."""
    x, begin = paths(n, steps, q, c), system(q, c)

    def mine() -> np.ndarray:
        found = track(x, begin)
        return np.concatenate([found.mean.flatten().numpy(), _spread(found).flatten().numpy()])

    def statsmodels() -> np.ndarray:
        found = [smoother(begin, one).smooth() for one in x]
        means = np.stack([answer.smoothed_state.T for answer in found])
        return np.concatenate(
            [means.ravel(), np.moveaxis(found[0].smoothed_state_cov, -1, 0).ravel()]
        )

    def pykalman() -> np.ndarray:
        found = [kalman(begin).smooth(one) for one in x]
        return np.concatenate([np.stack([m for m, _ in found]).ravel(), found[0][1].ravel()])

    return Case(f"linear system, smoothed, {n} x {steps:,} steps of {c}, {q} latents", mine,
                statsmodels if peer == "statsmodels" else pykalman,
                lambda a, b: f"means and covariances at most {np.abs(a - b).max():.1e} apart", peer)  # fmt: skip


def _spread(found: Track) -> torch.Tensor:
    """Covariances of the first series' states, (L, Q, Q)."""
    return found.smoothed.cov[found.smoothed.place][:, 0]


CASES: dict[str, Callable[[], Case]] = {
    "symbols1": lambda: symbols(1),
    "symbols2": lambda: symbols(2),
    "symbols3": lambda: symbols(3),
    "densities1": lambda: densities(1),
    "densities3": lambda: densities(3),
    "em2": lambda: em(10_000, 4, 2),
    "em4": lambda: em(10_000, 4, 4),
    "long-statsmodels": lambda: likelihood(1, 10_000, 4, 3, "statsmodels"),
    "long-pykalman": lambda: likelihood(1, 10_000, 4, 3, "pykalman"),
    "many-statsmodels": lambda: likelihood(200, 100, 4, 3, "statsmodels"),
    "many-pykalman": lambda: likelihood(200, 100, 4, 3, "pykalman"),
    "smooth-long-statsmodels": lambda: states(1, 10_000, 4, 3, "statsmodels"),
    "smooth-many-statsmodels": lambda: states(200, 100, 4, 3, "statsmodels"),
    "smooth-long-pykalman": lambda: states(1, 10_000, 4, 3, "pykalman"),
}


def main() -> None:
    """Run the cases that were named, or all."""
    turns.main(CASES, __doc__)


if __name__ == "__main__":
    main()
