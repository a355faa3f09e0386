"""Conditional random fields
=========================

Labels are told from all that is given, and from each other.

log p(labels | features) is one sum over all labellings away from a score that is linear in indicators. A classifier of
each step knows the same features and not its neighbours' labels; a hidden Markov model knows the neighbours and must
explain every word beside. The labels here are phases of made-up machines that never go from rest to full at once.
"""

from pathlib import Path

import numpy as np
import torch
from _page import BLUE, GREY, ORANGE, RED, command, mark, page, write

import likeness as lk
from likeness.core.batch import Batch
from likeness.core.space import Nominal, Space, series
from likeness.data.source import Table

PHASES = ("rest", "warm", "full")
STEPS, NOISE = 40, 1.3
LEVELS = np.array([0.0, 1.0, 2.0])


def machines(rows: int, seed: int) -> Table:
    """Phases of machines, and two numbers at each step: how loud, and how hot, which follows late."""
    g = np.random.default_rng(seed)
    phase = np.zeros((rows, STEPS), int)
    for t in range(1, STEPS):
        step = g.choice([-1, 0, 1], p=[0.1, 0.8, 0.1], size=rows)
        phase[:, t] = np.clip(phase[:, t - 1] + step, 0, 2)
    loud = LEVELS[phase] + NOISE * g.normal(size=phase.shape)
    hot = np.zeros(phase.shape)
    for t in range(1, STEPS):
        hot[:, t] = 0.7 * hot[:, t - 1] + 0.3 * LEVELS[phase[:, t - 1]]
    hot += 0.3 * g.normal(size=phase.shape)
    space = Space(
        axes=("time",),
        shape=(None,),
        variables=(Nominal(categories=3, labels=PHASES),),
        longest=STEPS,
        source="tags",
    )
    length = torch.full((rows,), STEPS)
    given = Batch(torch.from_numpy(np.stack([loud, hot], -1)), length=length)
    return Table(
        space, Batch(torch.from_numpy(phase).double(), length=length, given=given), series(2, STEPS)
    )


def main(out: Path, *, quick: bool = False) -> dict[str, float]:
    """A chain of labels, the same without its steps, and one step alone."""
    train, test = machines(100 if quick else 300, 0), machines(200, 1).batch
    fit = {"holdout": 0.0, "progress": False, "seed": 0}
    hidden = test.hide(torch.ones(STEPS, dtype=torch.bool))
    model = lk.fit("crf", train, window=2, **fit)
    code = model.encode(hidden)
    best = model.mode(hidden).x

    # A classifier of each step: the same features, the labels of the neighbours unknown to it.
    flat = lk.fit("crf", one_by_one(train), window=0, **fit)
    single = flat.encode(
        one_by_one(Table(train.space, test, train.given_space)).batch.hide(
            torch.ones(1, dtype=torch.bool)
        )
    ).mean[:, 0]
    steps = single.argmax(-1).reshape(len(test), STEPS)

    truth = test.x.long()
    right = {
        "a step alone": float((steps == truth).double().mean()),
        "best path": float((best == truth).double().mean()),
        "likeliest labels": float((code.mean.argmax(-1) == truth).double().mean()),
    }
    leaps = {
        "a step alone": leaping(steps), "best path": leaping(best.long()), "in truth": leaping(truth),
    }  # fmt: skip
    nats = float(model.log_prob(test).value.mean()) / STEPS
    each = float(single.clamp(min=1e-12).log().gather(1, truth.reshape(-1, 1)).mean())
    assert right["likeliest labels"] >= right["best path"] > right["a step alone"] + 0.02
    assert leaps["in truth"] == 0 <= leaps["best path"] < leaps["a step alone"]
    assert nats > each + 0.1  # of each label, the ones before it known

    # Telling some labels changes what the others may be: the same law, asked with less hidden.
    told = test.hide(torch.arange(STEPS) % 8 != 0)
    known = float((model.encode(told).mean.argmax(-1) == truth).double().mean())
    assert known > right["likeliest labels"]

    # The sum over all labellings of one item of six steps, labelling by labelling.
    six = Batch(
        test.x[:1, :6],
        length=torch.tensor([6]),
        given=Batch(test.given.x[:1, :6], length=torch.tensor([6])),
    )
    every = torch.cartesian_prod(*[torch.arange(3.0)] * 6).double()
    item = torch.zeros(len(every), dtype=torch.int64)
    total = float(
        model.log_prob(Batch(every, length=six.length[item], given=six.given[item]))
        .value.exp()
        .sum()
    )
    assert abs(total - 1) < 1e-9

    figure, (seen, law, score) = page(3)
    place = np.arange(STEPS)
    seen.plot(place, test.given.x[0, :, 0], ".", color=GREY, label="loud")
    seen.plot(place, test.given.x[0, :, 1], color=ORANGE, label="hot")
    seen.step(place, LEVELS[truth[0].numpy()], color=RED, where="mid", label="phase")
    mark(seen, "What is given, and the phase behind", "step", "")
    law.stackplot(
        place, code.mean[0].numpy().T, colors=[BLUE, GREY, ORANGE], alpha=0.7, labels=PHASES
    )
    mark(law, "p(phase | all that is given)", "step", "p")
    score.bar(list(right), [100 * r for r in right.values()], color=[GREY, BLUE, ORANGE])
    score.set_ylim(60, 100)
    mark(score, "Labels right, of 100")
    write(figure, out, "tagging")
    return {
        **{f"right, {name}": value for name, value in right.items()}, "right, every eighth told": known,
        "leaps, a step alone": leaps["a step alone"], "leaps, best path": leaps["best path"],
        "nats a step": nats, "nats a step alone": each, "sum over labellings": total,
    }  # fmt: skip


def one_by_one(data: Table) -> Table:
    """Every step as an item of its own, with the features of the steps around it."""
    x, wide = data.batch.given.x, data.batch.given.x.new_zeros(len(data.batch), STEPS, 10)
    for k, offset in enumerate(range(-2, 3)):
        here = slice(max(0, -offset), STEPS - max(0, offset))
        there = slice(max(0, offset), STEPS + min(0, offset))
        wide[:, here, 2 * k : 2 * k + 2] = x[:, there]
    length = torch.ones(len(x) * STEPS, dtype=torch.int64)
    given = Batch(wide.reshape(-1, 1, 10), length=length)
    batch = Batch(data.batch.x.reshape(-1, 1), length=length, given=given)
    return Table(data.space.model_copy(update={"longest": 1}), batch, series(10, 1))


def leaping(x: torch.Tensor) -> float:
    """The share of steps that go from rest to full, or back, at once."""
    return float(((x[:, 1:] - x[:, :-1]).abs() > 1).double().mean())


if __name__ == "__main__":
    command(main)
