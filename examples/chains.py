"""Markov chains
=============

A text by what follows its last few letters.

A chain of order k is a table of what followed every window of k letters: counting is the fit. Each letter more tells
more of the next one, until windows are so many that few have been seen: then only what is added to every count, and
how much, keeps the held-out text from costing more again. A chain that may end has a distribution of lengths.
"""

from pathlib import Path

import numpy as np
import torch
from _page import BLUE, GREEN, GREY, ORANGE, command, mark, page, write
from sklearn import datasets

import likeness as lk
from likeness.core.batch import as_batch
from likeness.core.space import Nominal, Space
from likeness.data.source import Table

LETTERS = " abcdefghijklmnopqrstuvwxyz"
SETS = ("iris", "wine", "breast_cancer", "digits", "diabetes", "linnerud")
LENGTH = 60


def lines() -> list[np.ndarray]:
    """The descriptions of scikit-learn's small sets, letters and single spaces alone, in pieces."""
    text = " ".join(getattr(datasets, f"load_{name}")().DESCR for name in SETS).lower()
    kept = " ".join("".join(c if c in LETTERS else " " for c in text).split())
    codes = np.array([LETTERS.index(c) for c in kept], float)
    return [codes[i : i + LENGTH] for i in range(0, len(codes) - LENGTH, LENGTH)]


def words(pieces: list[np.ndarray]) -> list[np.ndarray]:
    """The words, each a sequence of its own."""
    text = "".join(LETTERS[int(c)] for piece in pieces for c in piece)
    return [
        np.array([LETTERS.index(c) for c in word], float)
        for word in text.split()
        if len(word) <= 14
    ]


def table(items: list[np.ndarray], longest: int) -> Table:
    """Letters as codes."""
    variable = Nominal(categories=27, labels=tuple(LETTERS))
    space = Space(
        axes=("time",), shape=(None,), variables=(variable,), longest=longest, source="text"
    )
    return Table(space, as_batch(space, items))


def spelt(codes: np.ndarray) -> str:
    """Codes as a text."""
    return "".join(LETTERS[int(c)] for c in codes)


def main(out: Path, *, quick: bool = False) -> dict[str, float]:
    """Bits a letter by order and smoothing, text drawn, words and their lengths, a gap."""
    pieces = lines()
    test, train = pieces[::5], [p for i, p in enumerate(pieces) if i % 5]
    fit = {"holdout": 0.0, "progress": False, "seed": 0}
    data, fresh = table(train, LENGTH), as_batch(table(train, LENGTH).space, test)
    bits: dict[str, list[float]] = {"held out": [], "smoothing 1": [], "on what was counted": []}
    models = []
    for order in (1, 2, 3):
        model = lk.fit("markov", data, order=order, smoothing=0.02, **fit)
        plenty = lk.fit("markov", data, order=order, **fit)
        for name, law, batch in (
            ("held out", model, fresh), ("smoothing 1", plenty, fresh), ("on what was counted", model, data.batch),
        ):  # fmt: skip
            bits[name].append(-float(law.log_prob(batch).value.mean()) / LENGTH / np.log(2))
        models.append(model)
    single = lk.fit("independent", data, **fit)
    bits_alone = -float(single.log_prob(fresh).value.mean()) / LENGTH / np.log(2)
    assert bits_alone > bits["held out"][0] > bits["held out"][1]
    assert bits["on what was counted"] == sorted(bits["on what was counted"], reverse=True)
    assert (
        bits["smoothing 1"][2] > bits["smoothing 1"][1]
    )  # few windows of three letters have been seen enough

    # The first order by hand: the table is counts.
    counts = np.full((28, 27), 0.02)
    for piece in train:
        for a, b in zip([0, *(piece[:-1].astype(int) + 1)], piece.astype(int), strict=True):
            counts[a, b] += 1
    hand = -np.mean([
        np.log2(counts[a, b] / counts[a].sum())
        for p in test for a, b in zip([0, *(p[:-1].astype(int) + 1)], p.astype(int), strict=True)
    ])  # fmt: skip
    assert abs(hand - bits["held out"][0]) < 1e-9

    # Words that end: their lengths have a law, and all their probabilities add up to one over all words.
    own = words(train)
    ending = lk.fit("markov", table(own, 14), order=1, end=True, smoothing=0.02, **fit)
    lengths = ending.sample(5000, seed=0).length.numpy()
    seen = np.array([len(w) for w in own])
    gap = abs(float(lengths.mean() - seen.mean()))
    assert gap < 0.5

    # Letters that are missing, summed over: a gap of one, told by what stands before and behind.
    place = 30
    steps = torch.arange(LENGTH)
    hidden = fresh.hide(steps == place)
    truth = fresh.x[:, place]
    both = float((models[0].mode(hidden).x[:, place] == truth).double().mean())
    behind = fresh.hide(steps >= place)
    before = float((models[0].mode(behind).x[:, place] == truth).double().mean())
    assert both > before

    figure, (cost, after, long) = page(3)
    drawn = [
        f"order {k}: {spelt(m.sample(1, seed=3).x[0].numpy())}" for k, m in enumerate(models, 1)
    ]
    figure.suptitle("\n".join(drawn), fontsize=9, family="monospace", x=0.02, ha="left")
    orders = np.arange(1, 4)
    for (name, values), colour in zip(bits.items(), (BLUE, ORANGE, GREY), strict=True):
        cost.plot(orders, values, "o-", color=colour, label=name)
    cost.axhline(bits_alone, color=GREEN, ls=":", label="letters alone")
    cost.set_xticks(orders)
    mark(cost, "Bits a letter", "order")
    law = models[0].log_p[0].exp().numpy()
    after.imshow(law, cmap="Blues", vmax=0.5, aspect="auto")
    after.set_xticks(range(27), LETTERS, fontsize=6)
    after.set_yticks(range(28), "·" + LETTERS, fontsize=6)
    mark(after, "p(letter | the one before)", "letter", "before it")
    edges = np.arange(16) - 0.5
    long.hist(seen, edges, density=True, color=GREY, alpha=0.6, label="words")
    long.hist(
        lengths,
        edges,
        density=True,
        histtype="step",
        color=BLUE,
        label="drawn by a chain that ends",
    )
    mark(long, "Lengths", "letters")
    write(figure, out, "chains")
    return {
        "bits, letters alone": bits_alone, **{f"bits, order {k}": bits["held out"][k - 1] for k in (1, 2, 3)},
        "bits, order 3, smoothing 1": bits["smoothing 1"][2], "bits, order 3, on what was counted":
        bits["on what was counted"][2], "letters of a drawn word": float(lengths.mean()),
        "letters of a word": float(seen.mean()), "gap filled, both sides": both, "gap filled, what is before": before,
    }  # fmt: skip


if __name__ == "__main__":
    command(main)
