"""The conditioning vector of nets."""

import torch

from likeness.core.batch import Batch
from likeness.core.space import Nominal, sequence, series, vector
from likeness.nets.conditioner import Conditioner

LABEL = vector(1, Nominal(categories=3))


def labels(codes: list[int]) -> Batch:
    return Batch(torch.tensor(codes, dtype=torch.float64)[:, None])


def test_nothing_given_and_one_size_of_rows_make_no_vector() -> None:
    conditioner = Conditioner(vector(2), None, 8)
    assert conditioner.size == 0
    assert conditioner(None, None, 5) is None


def test_a_missing_condition_is_the_null_vector_whether_it_is_hidden_or_absent() -> None:
    torch.manual_seed(0)
    conditioner = Conditioner(vector(2), LABEL, 8).double()
    hidden = labels([0, 1]).hide(torch.ones(1, dtype=torch.bool))
    assert torch.equal(conditioner(None, None, 2), conditioner(hidden, None, 2))
    assert not torch.equal(conditioner(labels([0, 1]), None, 2), conditioner(None, None, 2))


def test_lengths_of_ragged_rows_come_last_as_shares_of_the_longest() -> None:
    conditioner = Conditioner(sequence(5, 4), LABEL, 8).double()
    vectors = conditioner(labels([0, 1]), torch.tensor([1, 4]), 2)
    assert vectors.shape == (2, conditioner.size) == (2, 9)
    assert vectors[:, -1].tolist() == [0.25, 1.0]


def test_lengths_are_left_out_where_a_net_takes_them_itself() -> None:
    conditioner = Conditioner(sequence(5, 4), None, 8, by_length=False)
    assert conditioner(None, torch.tensor([1, 4]), 2) is None


def test_the_vector_has_the_type_of_the_net() -> None:
    conditioner = Conditioner(series(1, 4), None, 8).to(torch.float64)
    assert conditioner(None, torch.tensor([2]), 1).dtype == torch.float64
