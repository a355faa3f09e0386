"""Conditional random fields beside CRFsuite: objective, tags and seconds, on CoNLL-2000 and WNUT-17.

    LIKENESS_DATA=... python -m bench.crf [--set conll2000] [--iterations 400] [--alone]

Both learn the same indicators (CRFsuite's usual templates for chunks), of the pairs seen in training, under c2 = 1,
one after the other, one thread, processor time. `--alone` leaves CRFsuite out.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

import likeness as lk
from likeness.core.batch import Batch
from likeness.core.space import Nominal, Space
from likeness.data.source import Table
from likeness.learn.fit import start
from likeness.learn.run import Run
from likeness.metrics.spans import compared


def windows(
    column: str, reach: int, pairs: tuple[int, ...] = (), triples: tuple[int, ...] = ()
) -> list[str]:
    """A column at every offset, neighbours in pairs and in threes."""
    alone = [f"{column}[{o}]" for o in range(-reach, reach + 1)]
    joined = [f"{column}[{o}]|{column}[{o + 1}]" for o in pairs]
    return [
        *alone,
        *joined,
        *(f"{column}[{o}]|{column}[{o + 1}]|{column}[{o + 2}]" for o in triples),
    ]


TEMPLATES = {
    "conll2000": [*windows("word", 2, (-1, 0)), *windows("pos", 2, (-2, -1, 0, 1), (-2, -1, 0))],
    "wnut17": [
        *windows("word", 2, (-1, 0)), *windows("lower", 1), *windows("shape", 2, (-1, 0)), *windows("prefix", 1),
        *windows("suffix", 1),
    ],
}  # fmt: skip


def tags(space: Space, x: torch.Tensor, length: torch.Tensor) -> list[list[str]]:
    """Codes as the names of their labels."""
    labels = getattr(space.variables[0], "labels", None) or ()
    return [
        [labels[int(c)] for c in row[:n]]
        for row, n in zip(x.tolist(), length.tolist(), strict=True)
    ]


def learned(train: Table) -> Table:
    """The training part over the labels that occur in it alone, as CRFsuite knows no others."""
    variable, kept = train.space.variables[0], train.batch.x[train.batch.present].unique().long()
    labels = getattr(variable, "labels", None) or ()
    code = torch.zeros(len(labels)).index_copy(0, kept, torch.arange(float(len(kept))))
    own = Nominal(categories=len(kept), labels=tuple(labels[int(k)] for k in kept))
    space = train.space.model_copy(update={"variables": (own,)})
    return replace(train, space=space, batch=replace(train.batch, x=code[train.batch.x.long()]))


def attributes(model: Any, batch: Batch) -> list[list[list[str]]]:
    """The same indicators as words, for CRFsuite."""
    view = model._view(batch)
    codes = model.indicators.codes(view.features, view.observed, view.length).tolist()
    words, start = [["bias", *(str(c) for c in row if c >= 0)] for row in codes], 0
    items = []
    for n in view.length.tolist():
        items.append(words[start : start + n])
        start += n
    return items


def report(
    name: str, seconds: float, objective: float, found: list[list[str]], there: list[list[str]]
) -> None:
    """One line."""
    right = sum(
        a == b for x, y in zip(found, there, strict=True) for a, b in zip(x, y, strict=True)
    )
    total, spans = sum(map(len, there)), compared(found, there)
    print(
        f"{name}: objective {objective:,.4f}, {seconds:.0f} s, accuracy {right / total:.4f}, precision "
        f"{spans.precision:.4f}, recall {spans.recall:.4f}, F1 {100 * spans.f1:.2f}", flush=True,
    )  # fmt: skip


def theirs(
    model: Any, train: Batch, test: Batch, c2: float, iterations: int
) -> tuple[float, float, list[list[str]]]:
    """CRFsuite's seconds, objective and tags."""
    import pycrfsuite

    assert train.length is not None
    trainer = pycrfsuite.Trainer(verbose=False)
    trainer.set_params(
        {"c1": 0.0, "c2": c2, "max_iterations": iterations, "epsilon": 1e-9, "delta": 1e-9}
    )
    for x, y in zip(
        attributes(model, train), tags(model.space, train.x, train.length), strict=True
    ):
        trainer.append(x, y)
    with tempfile.TemporaryDirectory() as folder:
        begun, file = time.process_time(), str(Path(folder) / "model")
        trainer.train(file)
        seconds = time.process_time() - begun
        tagger = pycrfsuite.Tagger()
        tagger.open(file)
        found = [tagger.tag(x) for x in attributes(model, test)]
        tagger.close()
    return seconds, float(trainer.logparser.last_iteration["loss"]), found


def main() -> None:
    """One set."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--set", default="conll2000", choices=[*TEMPLATES])
    parser.add_argument("--iterations", type=int, default=400)
    parser.add_argument("--c2", type=float, default=1.0)
    parser.add_argument("--alone", action="store_true")
    parser.add_argument("--pairs", default="seen", choices=["seen", "all"])
    parser.add_argument("--usual", action="store_true", help="the family's own templates instead")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    data = lk.load(asked.set)
    options = {
        "l2": asked.c2,
        "iterations": asked.iterations,
        "tolerance": 1e-9,
        "pairs": asked.pairs,
    }
    options |= {} if asked.usual else {"templates": TEMPLATES[asked.set]}
    assert isinstance(data.train, Table)
    part = learned(data.train)
    model: Any = start("crf", options, part, seed=0)
    begun = time.process_time()
    run = Run(model, part, asked.iterations)
    run.fit()
    seconds = time.process_time() - begun
    test, train = data.test.batch.to(dtype=torch.float64), part.batch.to(dtype=torch.float64)
    assert test.length is not None
    there = tags(data.space, test.x, test.length)
    best = model.mode(given=test.given).x
    objective = run.events[-1].loss * len(data.train)
    report(
        f"likeness, {len(run.events)} iterations",
        seconds,
        objective,
        tags(model.space, best, test.length),
        there,
    )
    if not asked.alone:
        spent, loss, found = theirs(model, train, test, asked.c2, asked.iterations)
        report("CRFsuite", spent, loss, found, there)
        print(f"ours over theirs less one: {objective / loss - 1:.2e}")


if __name__ == "__main__":
    main()
