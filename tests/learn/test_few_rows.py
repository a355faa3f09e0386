"""Weights that are none are refused in a sentence, and of two rows both are learned from."""

import numpy as np
import pytest
import torch

import likeness as lk
from likeness.core.batch import Batch
from likeness.core.errors import BadData
from likeness.core.space import vector
from likeness.data.source import Table
from likeness.learn.fit import parts

X = torch.from_numpy(np.random.default_rng(0).normal(size=(6, 2)))


def weighted(*weights):
    return Table(vector(2), Batch(X, weight=torch.tensor(weights, dtype=torch.float64)))


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ((1, 1, -0.5, 1, 1, 1), r"weight -0\.5 is no finite number from 0 on \(row 2\)"),
        ((1, float("nan"), 1, 1, 1, 1), r"weight nan .*\(row 1\)"),
        ((float("inf"), 1, 1, 1, 1, 1), r"weight inf .*\(row 0\)"),
        ((0, 0, 0, 0, 0, 0), "every weight is 0"),
    ],
)
def test_weights_that_are_none_are_refused(weights, said):
    with pytest.raises(BadData, match=said):
        lk.fit("gaussian", weighted(*weights), holdout=0.0)


def test_rows_of_weight_0_are_no_rows():
    model = lk.fit("gaussian", weighted(1, 1, 1, 1, 0, 0), holdout=0.0)
    want = lk.fit("gaussian", X[:4], holdout=0.0).log_prob(X).value
    torch.testing.assert_close(model.log_prob(X).value, want)


@pytest.mark.parametrize("seed", range(8))
def test_of_two_rows_both_are_learned_from(seed):
    train, held = parts(Table(vector(2), Batch(X[:2])), 0.1, seed)
    assert (len(train), len(held)) == (2, 0)
    train, held = parts(Table(vector(2), Batch(X)), 0.1, seed)
    assert len(train) >= 2
    assert len(held) >= 1
