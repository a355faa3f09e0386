"""Bayesian networks
=================

Variables that depend on a few others, so that a joint distribution needs few numbers and answers exactly.

The chain rule writes any distribution of n bits as p(x1) p(x2 | x1) ... with 1 + 2 + 4 + ... + 2^(n-1) = 2^n - 1
numbers; a net leaves out the parents that tell nothing more. Two causes of one alarm show what evidence does: apart
they know nothing of each other, and once the alarm rings, one explains the other away. A tree can also be learned.
Its edges are the strongest dependences, not causes: turned round, they say the same distribution, and one
intervention tells them apart.
"""

import itertools
import math
from pathlib import Path

import numpy as np
import torch
from _page import BLUE, GREEN, GREY, RED, command, mark, page, write
from matplotlib.axes import Axes
from sklearn.datasets import load_breast_cancer

import likeness as lk
from likeness.core.batch import Batch
from likeness.core.model import Model
from likeness.core.space import binary, vector
from likeness.data.source import Table

FIT = {"holdout": 0.0, "progress": False, "seed": 0}
ALARM = {"alarm": ("burglary", "earthquake"), "call": ("alarm",)}
NAMES = ("burglary", "earthquake", "alarm", "call")
RING = {(0, 0): 0.001, (0, 1): 0.29, (1, 0): 0.94, (1, 1): 0.95}
HOLE = math.nan


def by_hand(b: int, e: int, a: int, c: int) -> float:
    """The alarm's law as a product of its four tables."""
    p = (0.05 if b else 0.95) * (0.1 if e else 0.9) * (RING[b, e] if a else 1 - RING[b, e])
    heard = 0.9 if a else 0.02
    return p * (heard if c else 1 - heard)


def alarm() -> Model:
    """A net that has learned all sixteen states, each weighted by its probability."""
    states = np.array(list(itertools.product((0.0, 1.0), repeat=4)))
    space = vector(4, binary(), NAMES)
    weight = torch.tensor([by_hand(*map(int, s)) for s in states])
    data = Table(space, Batch(torch.tensor(states), weight=weight))
    return lk.fit("bayes_net", data, parents=ALARM, smoothing=0.0, **FIT)


def chain_rule(most: int) -> dict[int, float]:
    """For n bits that each depend on all before: the sum of p over all 2^n states; its free numbers are 2^n - 1."""
    sums = {}
    for n in range(1, most + 1):
        states = np.array(list(itertools.product((0.0, 1.0), repeat=n)))
        rows = np.random.default_rng(n).integers(2, size=(50, n)).astype(float)
        space = vector(n, binary())
        every = {f"x{j}": tuple(range(j)) for j in range(1, n)}
        model = lk.fit("bayes_net", Table(space, Batch(torch.tensor(rows))), parents=every, **FIT)
        assert model.count() == sum(2**j for j in range(n)) == 2**n - 1
        sums[n] = float(model.log_prob(states).value.exp().sum())
    return sums


def drawn(plot: Axes, edges: list[tuple[str, str]]) -> None:
    """A tree with its root in the middle and each branch in a sector of its own."""
    children: dict[str, list[str]] = {}
    for above, below in edges:
        children.setdefault(above, []).append(below)
    root = next(a for a, _ in edges if a not in {b for _, b in edges})
    place = {root: (0.0, 0.0)}

    def leaves(name: str) -> int:
        return sum(map(leaves, children.get(name, []))) or 1

    def spread(name: str, low: float, high: float, depth: int) -> None:
        start, total = low, leaves(name)
        for child in children.get(name, []):
            end = start + (high - low) * leaves(child) / total
            angle = (start + end) / 2
            place[child] = (depth * math.cos(angle), depth * math.sin(angle))
            spread(child, start, end, depth + 1)
            start = end

    spread(root, 0.0, 2 * math.pi, 1)
    for above, below in edges:
        plot.plot(*zip(place[above], place[below], strict=True), color=GREY, lw=0.8, zorder=1)
    for name, at in place.items():
        kind = name.split()[0] if name.split()[0] in {"mean", "worst"} else "error"
        plot.scatter(*at, s=18, color={"mean": BLUE, "worst": RED, "error": GREEN}[kind], zorder=2)
        short = name.removeprefix("mean ").removeprefix("worst ").removesuffix(" error")
        plot.annotate(
            short, at, (0, 4), textcoords="offset points", fontsize=5, ha="left", rotation=20
        )
    for kind, colour in (("mean", BLUE), ("worst", RED), ("error", GREEN)):
        plot.scatter([], [], s=18, color=colour, label=kind)
    plot.margins(0.12)
    plot.set_axis_off()


def main(out: Path, *, quick: bool = False) -> dict[str, float]:
    """An alarm explained away, the numbers that laws need, a tree of real data, and what an edge is not."""
    net = alarm()

    def p(**known: int) -> float:
        row = [[float(known.get(name, HOLE)) for name in NAMES]]
        return float(net.log_prob(row).value.exp())

    told = {"nothing": {}, "the call": {"call": 1}, "the alarm": {"alarm": 1}}
    told["the alarm and\nan earthquake"] = {"alarm": 1, "earthquake": 1}
    belief = {name: p(**(known | {"burglary": 1})) / p(**known) for name, known in told.items()}
    rows = list(itertools.product((0, 1), repeat=4))
    rang = [s for s in rows if s[2]]
    truth = sum(by_hand(*s) for s in rang if s[0]) / sum(by_hand(*s) for s in rang)
    assert abs(belief["the alarm"] - truth) < 1e-6
    assert belief["the alarm and\nan earthquake"] < belief["the alarm"] / 3
    assert (
        abs(p(burglary=1, earthquake=1) - p(burglary=1) * p(earthquake=1)) < 1e-9
    )  # apart they are independent

    sums = chain_rule(6 if quick else 10)
    assert all(abs(total - 1) < 1e-12 for total in sums.values())

    # A tree of thirty measurements of real tumours, each above its median or not, without their diagnosis.
    found = load_breast_cancer()
    bits = (found.data > np.median(found.data, 0)).astype(float)
    space = vector(30, binary(), tuple(map(str, found.feature_names)))
    order = np.random.default_rng(0).permutation(len(bits))
    train, test = (Table(space, Batch(torch.tensor(bits[o]))) for o in (order[:400], order[400:]))
    tree, free = lk.fit("bayes_net", train, **FIT), lk.fit("independent", train, **FIT)
    nats = {
        name: float(m.log_prob(test.batch).value.mean())
        for name, m in (("tree", tree), ("independent", free))
    }
    assert nats["tree"] > nats["independent"] + 5

    # What an edge is not: both directions are one law, but rain makes grass wet and a hose makes no rain.
    g = np.random.default_rng(1)
    rain = g.random(20_000) < 0.3
    wet = np.where(rain, g.random(20_000) < 0.9, g.random(20_000) < 0.1)
    pair = vector(2, binary(), ("rain", "wet"))
    data = Table(pair, Batch(torch.tensor(np.stack([rain, wet], 1)).double()))
    ways = [
        lk.fit("bayes_net", data, parents=way, **FIT)
        for way in ({"wet": ("rain",)}, {"rain": ("wet",)})
    ]
    states = [[a, b] for a in (0.0, 1.0) for b in (0.0, 1.0)]
    apart = float((ways[0].log_prob(states).value - ways[1].log_prob(states).value).abs().max())
    assert apart < 1e-9
    seen = float(
        (ways[0].log_prob([[1.0, 1.0]]).value - ways[0].log_prob([[HOLE, 1.0]]).value).exp()
    )
    hosed = float(rain.mean())  # grass made wet at random says nothing of rain
    assert seen > hosed + 0.4

    figure, (away, numbers, drawing, cause) = page(2, 2)
    away.bar(list(belief), list(belief.values()), color=[GREY, BLUE, BLUE, RED])
    away.tick_params(axis="x", labelsize=7)
    mark(away, "p(burglary | what is known)", "", "p")
    n = np.arange(1, 21)
    numbers.semilogy(n, 2.0**n - 1, color=RED, label="all depend on all before: $2^n - 1$")
    numbers.semilogy(n, 2 * n - 1, color=BLUE, label="a tree: $2n - 1$")
    numbers.set_xticks([1, 5, 10, 15, 20])
    mark(numbers, "Free numbers of a law of n bits", "n")
    drawn(drawing, tree.edges[0])
    mark(drawing, "A learned tree of 30 measurements")
    cause.bar(
        ["p(rain)", "wet grass\nis seen", "grass is\nmade wet"],
        [hosed, seen, hosed],
        color=[GREY, BLUE, RED],
    )
    mark(cause, "An edge is no cause: p(rain | ...)", "", "p")
    write(figure, out, "nets")
    return {
        "p(burglary)": belief["nothing"], "p(burglary | alarm)": belief["the alarm"],
        "p(burglary | alarm, earthquake)": belief["the alarm and\nan earthquake"],
        "numbers of the alarm's net": net.count(), "numbers of any law of 4 bits": 2**4 - 1,
        "largest error of a sum over all states": max(abs(total - 1) for total in sums.values()),
        "nats, tree": nats["tree"], "nats, independent": nats["independent"],
        "largest difference of two directions": apart, "p(rain | wet)": seen, "p(rain | made wet)": hosed,
    }  # fmt: skip


if __name__ == "__main__":
    command(main)
