"""Topics
======

Documents are mixtures of topics, which are found from the words alone, and log p is bounded, not known.

A made-up corpus of documents of a hundred words out of 25, drawn as squares: ten topics lie behind it, the rows and the
columns (Griffiths & Steyvers 2004). Variational EM finds them. Two things are often taken for what they are not: the
bound is not the log-probability, as the sum over all assignments shows; and what a word costs in the documents that
were learned from is not what it costs in fresh ones, the less so the fewer they are.
"""

import copy
import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _page import BLUE, GREY, ORANGE, RED, command, mark, page, write
from scipy.optimize import linear_sum_assignment

import likeness as lk

WORDS = np.array(list("abcdefghijklmnopqrstuvwxy"))  # a letter stands for a word
TOPICS = (
    np.concatenate([np.kron(np.eye(5), np.ones(5)), np.kron(np.ones(5), np.eye(5))]) / 5
)  # rows, then columns
ALPHA = 0.3


def drawn(rows: int, words: int, seed: int) -> list[str]:
    """Documents: proportions of topics, a topic for every word, a word of it."""
    g = np.random.default_rng(seed)
    return [
        "".join(g.choice(WORDS, words, p=p)) for p in g.dirichlet(np.full(10, ALPHA), rows) @ TOPICS
    ]


def summed(model: Any, text: str) -> float:
    """log p of words, in which every topic of every word is summed over: exact, and dear."""
    beta, alpha, k = model.table, model.alpha, len(model.alpha)
    words = [int(np.flatnonzero(letter == WORDS)[0]) for letter in text]
    z = torch.tensor(list(itertools.product(range(k), repeat=len(words))))
    count = torch.nn.functional.one_hot(z, k).sum(1)
    prior = torch.lgamma(alpha + count).sum(-1) - torch.lgamma(alpha).sum()
    prior = prior + math.lgamma(float(alpha.sum())) - math.lgamma(float(alpha.sum()) + len(words))
    return float((prior + beta[torch.tensor(words), z].log().sum(-1)).logsumexp(0))


def costs(data: list[str], model: Any) -> float:
    """At most so many nats a word."""
    return -float(model.log_prob(data).value.sum()) / sum(map(len, data))


def main(out: Path, *, quick: bool = False) -> dict[str, float]:
    """One fit of ten topics, the bound beside the truth, and fits to more and more documents."""
    rows = 300 if quick else 800
    train, test = drawn(rows, 100, 0), drawn(200, 100, 1)
    fit = {"holdout": 0.0, "progress": False, "seed": 0}
    model = lk.fit("topic", train, topics=10, restarts=4, **fit)

    # Topics come in no order: each is matched to the true one that is nearest, in total variation.
    table = model.table.T.numpy()
    distance = 0.5 * np.abs(table[:, None] - TOPICS).sum(-1)
    mine, theirs = linear_sum_assignment(distance)
    apart = float(distance[mine, theirs].max())
    assert apart < 0.15

    # The bound is not the likelihood: the sum over 10^4 assignments, and draws that come to it.
    short = test[0][:4]
    truth, bound = summed(model, short), model.log_prob([short])
    efforts = (1, 4, 16, 64, 256, 1024)
    tighter = [float(model.log_prob([short] * 64, effort=e, seed=0).value.mean()) for e in efforts]
    assert float(bound.value) < truth
    assert abs(tighter[-1] - truth) < 0.05

    # Documents that were learned from flatter: what a word costs beyond what it costs under the true topics.
    true = copy.deepcopy(model)
    true.weights, true.alpha = (
        torch.from_numpy(TOPICS.T.copy()),
        torch.full_like(model.alpha, ALPHA),
    )
    numbers = (10, 30, 100, 300) if quick else (10, 30, 100, 300, 800)
    fits = [lk.fit("topic", train[:n], topics=10, smoothing=0.01, **fit) for n in numbers]
    parts = [(train[:n], test) for n in numbers]
    known, fresh = (
        [costs(p[i], m) - costs(p[i], true) for p, m in zip(parts, fits, strict=True)]
        for i in (0, 1)
    )
    assert known[0] < 0 < fresh[0]
    assert fresh[-1] < 0.1 * fresh[0]

    code = model.encode(test)
    figure, (topics, shares, climbs, cost) = page(2, 2)
    picture = np.full((2 * 5 + 1 + 2, 5 * 5 + 4), np.nan)
    for i, k in enumerate(mine[np.argsort(theirs)]):
        top, left = 7 * (i // 5), 6 * (i % 5)
        picture[top : top + 5, left : left + 5] = table[k].reshape(5, 5)
    topics.imshow(np.ma.masked_invalid(picture), cmap="Greys", vmin=0, vmax=0.2)
    topics.axis("off")
    mark(topics, "Ten topics as found, 25 words each as a square")
    order = mine[np.argsort(theirs)]
    shares.bar(np.arange(1, 11), code.mean[0].numpy()[order], color=BLUE)
    shares.set_xticks(np.arange(1, 11))
    mark(
        shares,
        "Proportions of topics in one document",
        "topic (rows, then columns)",
        "mean of q(theta)",
    )
    climbs.axhline(truth, color=RED, label="log p, all assignments summed")
    climbs.axhline(float(bound.value), color=GREY, ls="--", label="variational bound")
    climbs.semilogx(efforts, tighter, "o-", color=BLUE, label="bound by weighted draws")
    mark(climbs, "A bound is not the log-probability", "draws", "nats, a document of 4 words")
    cost.axhline(0, color=RED, label="true topics")
    cost.semilogx(numbers, known, "o-", color=GREY, label="the documents that were learned from")
    cost.semilogx(numbers, fresh, "o-", color=ORANGE, label="fresh documents")
    cost.set_xticks(numbers, map(str, numbers))
    cost.minorticks_off()
    mark(
        cost,
        "Known documents flatter",
        "documents that were learned from",
        "bound's cost of a word, nats beyond the truth's",
    )
    write(figure, out, "topics")
    return {
        "total variation to the truth, worst topic": apart, "log p of 4 words": truth,
        "variational bound": float(bound.value), "bound by 1,024 draws": tighter[-1],
        "alpha learned, mean": float(model.alpha.mean()), "nats a word beyond the truth, 10 documents": known[0],
        "fresh ones": fresh[0], f"nats a word beyond the truth, {numbers[-1]} documents": known[-1],
        "fresh ones then": fresh[-1],
    }  # fmt: skip


if __name__ == "__main__":
    command(main)
