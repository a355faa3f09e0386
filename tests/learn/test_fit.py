"""`fit`: which rows choose, what is refused before anything is learned, and what a user is warned of."""

import warnings

import numpy as np
import pandas as pd
import pytest

import likeness as lk
from likeness.core.errors import BadData

PLAIN = {"progress": False}


def frame(**more) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame({"a": rng.normal(size=200), "b": rng.normal(size=200), **more})


def test_choices_rest_on_the_part_that_the_data_hold_out_for_them():
    data = lk.load(frame(), valid=0.3, test=0.1)
    model = lk.fit("gaussian", data, **PLAIN)
    assert model.facts["data"]["rows"] == len(data.train)
    assert len(model.held_out) == len(data.valid)
    scores = -model.log_prob(data.valid.batch).value
    np.testing.assert_allclose(model.held_out, scores.sort().values, rtol=0, atol=1e-12)


def test_a_share_that_is_named_is_held_out_of_the_training_part():
    data = lk.load(frame(), valid=0.3, test=0.1)
    model = lk.fit("gaussian", data, holdout=0.2, **PLAIN)
    assert model.facts["data"]["rows"] + len(model.held_out) == len(data.train)
    assert len(lk.fit("gaussian", data, holdout=0.0, **PLAIN).held_out) == 0


def test_the_part_for_choices_has_its_condition_too():
    data = lk.load(frame(c=["x", "y"] * 100), valid=0.3, test=0.0)
    model = lk.fit("gaussian", data, given="c", **PLAIN)
    assert len(model.held_out) == len(data.valid)


@pytest.mark.parametrize("constant", [[3] * 200, [2.5] * 200, ["x"] * 200, [True] * 200])
def test_a_column_of_one_value_ends_in_one_sentence(constant):
    table = frame(same=constant)
    with pytest.raises(
        BadData, match=r"one value in all rows of 'same'.*columns=\{'same': 'skip'\}"
    ):
        lk.fit("independent", table, **PLAIN)
    lk.fit("independent", lk.load(table, columns={"same": "skip"}), **PLAIN)


def test_a_user_is_warned_of_what_is_left_out_and_of_nothing_else():
    with pytest.warns(UserWarning, match="'row' looks like an identifier"):
        lk.fit("gaussian", frame(row=range(200)), **PLAIN)
    gappy = frame()
    gappy.loc[3, "a"] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "lacks 1 of 200 values" in lk.fit("gaussian", gappy, **PLAIN).facts["notes"][0]
