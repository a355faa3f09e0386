"""Times trees of categories beside pomegranate's and pgmpy's: learning, densities of rows, one variable given others.

    python -m bench.trees [--case learn16-pgmpy] ... [--repeats 5]

Rows are drawn from a tree. All are fitted by maximum likelihood: no smoothing. One thread, processor time, in turns;
the median ratio over repeats and its range are printed, then how far apart the answers are.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from pgmpy.estimators import TreeSearch
from pgmpy.inference import VariableElimination
from pgmpy.models import DiscreteBayesianNetwork
from pomegranate.bayesian_network import BayesianNetwork

from bench import turns
from bench.turns import Case
from likeness import registry
from likeness.core.batch import Batch
from likeness.core.space import Nominal, vector
from likeness.data.source import Table
from likeness.learn.run import Run
from likeness.query import query

KEEP = 0.85  # how often a column is as its parent
ASKED, EVIDENCE = 100, 5  # questions, and columns that each knows


@cache
def rows(n: int, d: int, seed: int = 0) -> np.ndarray:
    """Bits (n, d), each column like one before it in most rows."""
    g = np.random.default_rng(seed)
    x = np.empty((n, d), np.int64)
    x[:, 0] = g.random(n) < 0.4
    for j in range(1, d):
        keep = g.random(n) < g.uniform(KEEP - 0.15, KEEP + 0.1)
        x[:, j] = np.where(keep, x[:, g.integers(j)], g.random(n) < 0.3)
    return x


def ours(x: np.ndarray) -> Any:
    """`bayes_net` of plain rows."""
    data = Table(
        vector(x.shape[1], Nominal(categories=2)), Batch(torch.from_numpy(x.astype(float)))
    )
    return Run(registry.build("bayes_net", {"smoothing": 0}, data.space).double(), data, 100).fit()


def pomegranate(x: np.ndarray) -> BayesianNetwork:
    """Theirs, tree and tables."""
    return BayesianNetwork(algorithm="chow-liu").fit(torch.from_numpy(x))


def pgmpy(frame: pd.DataFrame) -> DiscreteBayesianNetwork:
    """Theirs, tree and tables."""
    found = TreeSearch(frame, root_node=frame.columns[0], n_jobs=1).estimate(show_progress=False)
    return DiscreteBayesianNetwork(found.edges()).fit(frame)


def named(x: np.ndarray) -> pd.DataFrame:
    """The same rows as pgmpy takes them, names as ours."""
    return pd.DataFrame(x, columns=[f"x{j}" for j in range(x.shape[1])])


def pairs(model: Any) -> set[frozenset[str]]:
    """The edges of a tree of any of the three, without direction."""
    if isinstance(model, BayesianNetwork):
        return {
            frozenset((f"x{i}", f"x{j}")) for j, above in enumerate(model.structure) for i in above
        }
    edges = model.edges() if isinstance(model, DiscreteBayesianNetwork) else model.edges[0]
    return {frozenset(edge) for edge in edges}


def alike(a: Any, b: Any) -> str:
    """How many edges both trees have."""
    return f"{len(pairs(a) & pairs(b))} of {len(pairs(b))} edges the same"


def learn(n: int, d: int, peer: str) -> Case:
    """Tree and tables of rows in memory."""
    x = rows(n, d)
    theirs = partial(pomegranate, x) if peer == "pomegranate" else partial(pgmpy, named(x))
    return Case(f"tree and tables, {n:,} x {d} bits", partial(ours, x), theirs, alike, peer)


def densities(n: int, d: int) -> Case:
    """log p of rows; theirs goes row by row."""
    x = rows(100_000, d)
    mine, theirs = ours(x), pomegranate(x)
    few, told = x[:n].astype(float), torch.from_numpy(x[:n])

    def gap(a: np.ndarray, b: np.ndarray) -> str:
        return f"log p a row at most {np.abs(a - b).max():.1e} apart (theirs in single precision)"

    return Case(
        f"log p of {n:,} rows, {d} bits", lambda: np.asarray(mine.log_prob(few).value),
        lambda: theirs.log_probability(told).numpy(), gap, "pomegranate",
    )  # fmt: skip


def questions(d: int) -> list[tuple[str, dict[str, int]]]:
    """A column, and what is known of some others, with values that go together."""
    g, x = np.random.default_rng(1), rows(100_000, d)
    found = []
    for _ in range(ASKED):
        first, *known = g.permutation(d)[: EVIDENCE + 1].tolist()
        row = x[g.integers(len(x))]
        found.append((f"x{first}", {f"x{j}": int(row[j]) for j in known}))
    return found


def asked(d: int, peer: str, *, together: bool = False) -> Case:
    """p(one column | five others), exact; one question at a time, or as many rows of one call."""
    x, some = rows(100_000, d), questions(d)
    mine = ours(x)

    def one() -> np.ndarray:
        answers = [query(mine, "classify", evidence=known, missing=name) for name, known in some]
        return np.stack([np.asarray(a.probabilities)[0] for a in answers])

    def all_at_once() -> np.ndarray:
        each = torch.full((ASKED, d), torch.nan, dtype=torch.float64)
        places = torch.tensor([int(name[1:]) for name, _ in some])
        for row, (_, known) in zip(each, some, strict=True):
            row[[int(name[1:]) for name in known]] = torch.tensor(list(known.values())).double()
        both = each.repeat(2, 1)
        both[torch.arange(2 * ASKED), places.repeat(2)] = (
            torch.arange(2).double().repeat_interleave(ASKED)
        )
        return np.asarray(mine.log_prob(both).value.unflatten(0, (2, ASKED)).softmax(0).T)

    def eliminated() -> np.ndarray:
        engine = VariableElimination(theirs)
        answers = [
            engine.query([name], evidence=known, show_progress=False) for name, known in some
        ]
        return np.stack([a.values for a in answers])

    def passed() -> np.ndarray:
        x_, known = (
            torch.zeros(ASKED, d, dtype=torch.int64),
            torch.zeros(ASKED, d, dtype=torch.bool),
        )
        for i, (_, evidence) in enumerate(some):
            for name, value in evidence.items():
                x_[i, int(name[1:])], known[i, int(name[1:])] = value, True
        found = theirs.predict_proba(torch.masked.MaskedTensor(x_, known))
        return np.stack([np.asarray(found[int(name[1:])][i]) for i, (name, _) in enumerate(some)])

    theirs = pgmpy(named(x)) if peer == "pgmpy" else pomegranate(x)
    return Case(
        f"p(one | {EVIDENCE} others), {d} bits, {ASKED} questions{' in one call' if together else ', one by one'}",
        all_at_once if together else one, eliminated if peer == "pgmpy" else passed,
        lambda a, b: f"probabilities at most {np.abs(a - b).max():.1e} apart", peer,
    )  # fmt: skip


CASES: dict[str, Callable[[], Case]] = {
    "learn16-pomegranate": lambda: learn(100_000, 16, "pomegranate"),
    "learn16-pgmpy": lambda: learn(100_000, 16, "pgmpy"),
    "learn69-pomegranate": lambda: learn(20_000, 69, "pomegranate"),
    "learn69-pgmpy": lambda: learn(20_000, 69, "pgmpy"),
    "densities16": lambda: densities(2_000, 16),
    "densities69": lambda: densities(1_000, 69),
    "ask16": lambda: asked(16, "pgmpy"),
    "ask69": lambda: asked(69, "pgmpy"),
    "ask16-together": lambda: asked(16, "pomegranate", together=True),
    "ask69-together": lambda: asked(69, "pomegranate", together=True),
}


def main() -> None:
    """Run the cases that were named, or all."""
    turns.main(CASES, __doc__)


if __name__ == "__main__":
    main()
