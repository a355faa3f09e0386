"""Values far out: no answer is NaN, the strangest row is strangest, and training names the cell."""

import math
import warnings

import numpy as np
import pytest
import torch

import likeness as lk
import likeness.routes
from likeness.core.answers import Kind, Scored
from likeness.core.batch import Batch, as_batch
from likeness.core.distribution import Distribution
from likeness.core.errors import BadData, LikenessError
from likeness.core.reach import extent
from likeness.core.space import Real, binary, label, vector


class Standard(Distribution):
    """N(0, I) of two named numbers."""

    def __init__(self) -> None:
        super().__init__(vector(2, names=("a", "b")))

    def _log_prob(self, batch, noise, effort, settings):
        return Scored((-0.5 * (batch.x.square() + math.log(2 * math.pi)) * batch.present).sum(-1))

    def _marginal(self, batch):
        return None


class Broken(Standard):
    """A distribution whose numbers have overflowed."""

    def _log_prob(self, batch, noise, effort, settings):
        return Scored(torch.where(batch.x[:, 0] > 1, math.nan, 0.0).double())


class Both(Distribution):
    """Two coins that never show a head, whatever their class."""

    def __init__(self) -> None:
        super().__init__(vector(2, binary()), label(3))

    def class_prior(self):
        return torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)

    def _log_prob(self, batch, noise, effort, settings):
        heads = (batch.x * batch.present).sum(-1)
        return Scored(torch.where(heads > 0, -math.inf, 0.0).double())

    def _marginal(self, batch):
        return None


def test_a_row_beyond_reach_is_the_strangest_and_its_cell_is_named():
    standard = Standard()
    x = np.array([[0.0, 1.0], [1e160, 0.0], [0.0, -1e300]])
    with pytest.warns(UserWarning, match=r"2 of 3 rows .*: 1e\+160 \(row 1, column 'a'\)"):
        answer = standard.log_prob(x)
    assert answer.kind is Kind.ESTIMATE
    assert "beyond reach" in answer.how
    assert float(answer.value[0]) == pytest.approx(-0.5 - math.log(2 * math.pi), abs=1e-12)
    assert float(answer.value[1:].max()) < -1e200


def test_a_row_within_reach_is_answered_as_exactly_as_ever():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        answer = Standard().log_prob([[1e90, 0.0]])
    assert answer.kind is Kind.EXACT
    assert float(answer.value) == pytest.approx(-0.5e180)


def test_a_distribution_whose_own_numbers_are_none_says_so_and_names_the_row():
    with pytest.raises(LikenessError, match=r"log p is no number \(row 1\)"):
        Broken().log_prob([[0.0, 0.0], [2.0, 0.0]])
    with pytest.raises(LikenessError, match=r"anomaly score is no number \(row 0\)"):
        Broken().anomaly_score([[2.0, 0.0]])


def test_entries_that_are_impossible_together_are_each_of_them_strange():
    assert Both().anomaly_map([[1, 1], [0, 1]], given=[[0], [0]]).tolist() == [
        [math.inf, math.inf],
        [math.inf, math.inf],
    ]


def test_a_row_impossible_under_every_class_has_the_prior():
    told = Both().classify([[1, 0], [0, 0]]).probabilities
    assert torch.allclose(told, Both().class_prior().expand(2, -1))


def test_the_extent_is_of_numbers_that_are_known():
    space = vector(3, (Real(), Real(), binary()))
    rows = as_batch(space, np.array([[1.0, np.nan, 1.0], [-2.0, 7.0, 0.0]]))
    assert extent(space, [rows]).tolist() == [[-2.0, 7.0, 0.0], [1.0, 7.0, 0.0]]


@pytest.mark.parametrize("value", [1e155, -1e160, 1e300])
def test_a_value_too_large_to_learn_from_is_refused_by_row_and_column(value):
    space = vector(2, names=("a", "b"))
    x = torch.zeros(5, 2, dtype=torch.float64)
    x[3, 1] = value
    with pytest.raises(BadData, match=r"too large to learn from.*\(row 8, column 'b'\)"):
        extent(space, [Batch(x, index=torch.arange(5, 10))])


def test_a_fit_names_the_row_and_the_column():
    x = np.random.default_rng(0).normal(size=(50, 2))
    x[41, 0] = 1e200
    with pytest.raises(BadData, match=r"row 41, entry \(0,\)"):
        lk.fit("gaussian", x, holdout=0.0, progress=False)


def test_infinity_is_refused_by_row_and_column_and_nan_is_a_hole():
    standard = Standard()
    with pytest.raises(BadData, match=r"inf is not a finite number \(row 1, column 'b'\)"):
        standard.log_prob([[0.0, 0.0], [0.0, math.inf]])
    known = standard.log_prob([[0.5, math.nan]]).value
    assert float(known) == pytest.approx(-0.125 - 0.5 * math.log(2 * math.pi), abs=1e-12)
