"""Nets compute in single precision where that holds the data, and in double where it does not."""

import numpy as np
import pandas as pd
import pytest
import torch

import likeness as lk

SOURCE = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("column", "right"),
    [
        (100 + 5 * SOURCE.normal(size=300), torch.float32),
        (1e9 + SOURCE.normal(size=300), torch.float64),
        (SOURCE.integers(10**7, 9 * 10**7, size=300), torch.float64),
    ],
)
def test_a_column_that_single_precision_would_round_is_learned_in_double(column, right):
    frame = pd.DataFrame({"a": column, "b": SOURCE.normal(size=300)})
    model = lk.fit("flow", frame, budget=2, holdout=0, progress=False, layers=1, hidden=(8,))
    assert model.dtype is right


def test_what_is_observed_survives_a_large_offset():
    frame = pd.DataFrame({"a": 1e9 + SOURCE.normal(size=300), "b": SOURCE.normal(size=300)})
    holed = frame.copy()
    holed.loc[::2, "b"] = np.nan
    model = lk.fit("flow", frame, budget=2, holdout=0, progress=False, layers=1, hidden=(8,))
    assert (model.complete(holed, n=1, seed=0).to_pandas().a == frame.a).all()
