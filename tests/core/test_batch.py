"""Batches: holes, lengths, checks that name the row."""

import numpy as np
import pytest
import torch

from likeness import registry
from likeness.core.batch import Batch, as_batch, concat, missing
from likeness.core.errors import BadData
from likeness.core.space import Count, Nominal, Real, sequence, series, vector


def test_nan_and_minus_one_become_holes() -> None:
    space = vector(3, (Real(), Nominal(categories=3), Count()))
    batch = as_batch(space, np.array([[1.5, -1, 4], [np.nan, 2, np.nan]]))
    assert batch.observed.tolist() == [[True, False, True], [False, True, False]]
    assert batch.x.tolist() == [[1.5, 0, 4], [0, 2, 0]]
    assert as_batch(vector(1), [[-1.0]]).observed is None


@pytest.mark.parametrize(
    ("space", "data", "words"),
    [(vector(2), [[1.0, np.inf]], "row 0"), (vector(2), [[1.0, 2.0, 3.0]], "shape 3"),
     (vector(1, Nominal(categories=3)), [[0.0], [3.0]], "row 1"), (vector(1, Count()), [[1.5]], "whole number"),
     (sequence(3, 4), [[0, 1, 2, 1, 0]], "length 5")],
)  # fmt: skip
def test_bad_values_are_named(space, data, words: str) -> None:
    with pytest.raises(BadData, match=words):
        as_batch(space, data)


def test_ragged_lists_are_laid_out_and_tails_are_no_holes() -> None:
    batch = as_batch(series(2, 5), [np.ones((3, 2)), np.ones((5, 2))])
    assert batch.x.shape == (2, 5, 2)
    assert batch.length.tolist() == [3, 5]
    assert batch.full
    assert int(batch.present.sum()) == 16
    hidden = batch.hide(torch.ones(5, 2, dtype=torch.bool))
    assert int(hidden.holes.sum()) == 16


def test_rows_of_one_size_have_the_length_of_their_layout_and_lie_within_it_whole() -> None:
    even = Batch(torch.zeros(2, 5, 3))
    assert even.lengths.tolist() == [5, 5]
    assert even.within is None
    assert bool(even.inside.all())
    ragged = Batch(torch.zeros(2, 5, 3), length=torch.tensor([3, 0]))
    assert ragged.lengths.tolist() == [3, 0]
    assert torch.equal(ragged.inside, ragged.within)
    assert ragged.inside.sum((1, 2)).tolist() == [9, 0]


def test_rows_without_a_condition_say_so_where_one_is_needed() -> None:
    given = Batch(torch.ones(2, 1))
    assert Batch(torch.zeros(2, 3), given=given).condition is given
    with pytest.raises(BadData, match="without a condition"):
        _ = Batch(torch.zeros(2, 3)).condition


def test_rows_keep_what_belongs_to_them() -> None:
    given = Batch(torch.arange(4.0)[:, None])
    batch = Batch(torch.arange(8.0).reshape(4, 2), given=given, weight=torch.arange(4.0))
    part = batch[torch.tensor([3, 1])]
    assert part.given.x.flatten().tolist() == [3, 1]
    assert part.ids.tolist() == [3, 1]
    assert part.weight.tolist() == [3, 1]
    whole = concat([batch[:2], batch[2:]])
    assert torch.equal(whole.x, batch.x)
    assert torch.equal(whole.given.x, given.x)


def test_missing_condition_has_nothing_observed() -> None:
    assert not bool(missing(sequence(3, 4), 2, torch.zeros(1)).present.any())


def test_a_value_beyond_its_bounds_is_named() -> None:
    space = vector(2, (Real(lower=0.0, upper=0.1), Real()))
    as_batch(space, [[0.0, -5.0], [0.1, 7.0]])
    with pytest.raises(BadData, match=r"-0.5 is not a number between its bounds, 0 and 0.1.*row 1"):
        as_batch(space, [[0.0, 0.0], [-0.5, 0.0]])


@pytest.mark.parametrize(
    ("family", "options"),
    [("independent", {"real": "normal"}), ("mixture", {}), ("vae", {}), ("independent", {})],
)
def test_families_whose_laws_reach_everywhere_refuse_bounds(family, options) -> None:
    """Mixed tables go through heads, and no head knows both rounding and bounds."""
    model = registry.load_all()[family]
    rounded = Real(lower=0.0, resolution=None if options else 0.5)
    answer = model.accepts(model.Config(**options), vector(2, (rounded, Count())))
    assert not answer
    assert "bounds" in answer.why
