"""p-values are uniform on fresh rows of the same law: with and without a condition, from files in any order."""

import numpy as np
import pandas as pd
import pytest
import torch

import likeness as lk
from likeness.core.batch import Batch
from likeness.core.model import Model
from likeness.core.space import vector
from likeness.data.source import Table
from likeness.learn import scoring
from likeness.learn.run import Run
from likeness.registry import build, load_all

load_all()


def small(p):
    return float((p <= 0.05).double().mean())


@pytest.fixture(scope="module")
def classes():
    source = np.random.default_rng(0)
    label = source.integers(0, 20, 8000)
    frame = pd.DataFrame(
        {"z": source.normal(size=8000) + 20 * label, "label": [f"c{k}" for k in label]}
    )
    return lk.fit("gaussian", frame[:4000], given="label", holdout=0.5, progress=False), frame[
        4000:
    ]


def test_under_its_condition_a_row_is_ranked_among_rows_under_theirs(classes):
    model, fresh = classes
    assert small(model.p_value(fresh[["z"]], given=fresh[["label"]])) == pytest.approx(
        0.05, abs=0.02
    )


def test_without_its_condition_a_row_is_ranked_among_rows_without_theirs(classes):
    model, fresh = classes
    assert small(model.p_value(fresh[["z"]])) == pytest.approx(0.05, abs=0.02)
    assert float(model.p_value(pd.DataFrame({"z": [10.0]}))) < 0.01  # between two classes


def test_a_sorted_file_is_ranked_by_all_of_it():
    source = np.random.default_rng(1)
    rows = np.repeat([0.1, 3.0], 15_000)[:, None] * source.normal(size=(30_000, 2))
    rows[15_000:] += 50
    fresh = np.concatenate(
        [0.1 * source.normal(size=(2000, 2)), 3 * source.normal(size=(2000, 2)) + 50]
    )
    model = lk.fit("independent", rows, holdout=0.7, progress=False)
    assert small(model.p_value(fresh)) == pytest.approx(0.05, abs=0.02)


def test_scores_of_a_dear_law_cost_a_share_of_a_wall_budget_and_a_replay_keeps_as_many(monkeypatch):
    rows = Table(
        vector(2),
        Batch(
            torch.randn(9000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        ),
    )
    train, held = rows.take(torch.arange(1000)), rows.take(torch.arange(1000, 9000))
    cheap = scoring.scores
    clock = [0.0]
    monkeypatch.setattr("likeness.learn.run.time.perf_counter", lambda: clock[0])

    def dear(model: Model, batch: Batch, seed: int) -> torch.Tensor:
        clock[0] += 0.01 * len(batch)
        return cheap(model, batch, seed)

    monkeypatch.setattr(scoring, "scores", dear)

    def run(budget: str, **more) -> Run:
        return Run(
            build("gaussian", {}, rows.space).double(), train, budget, 0, holdout=held, **more
        )

    first = run("20s")
    model = first.fit()
    assert len(model.held_out) == first.decisions["scored"] == 500  # 5 of 20 s at 10 ms a row
    assert len(run("1s").fit().held_out) == 200  # no fewer
    assert len(run("3 steps").fit().held_out) == 8000  # a budget in steps asks no clock
    replay = run("20s", decisions=first.decisions).fit()
    assert torch.equal(replay.held_out, model.held_out)


def test_epochs_are_passes_of_em():
    rows = np.random.default_rng(2).normal(size=(500, 3))
    model = lk.fit("mixture", rows, budget="2 epochs", components=4, progress=False)
    assert model.facts["iterations"] == 2
