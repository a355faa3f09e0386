"""Rows of a mask by their patterns."""

import pytest
import torch

from likeness.numerics.patterns import BITS, patterns_of


@pytest.mark.parametrize("entries", [1, 5, BITS, BITS + 1, 200])
@pytest.mark.parametrize("shape", [(40,), (10, 7)])
def test_each_row_is_its_pattern_and_no_pattern_comes_twice(shape, entries):
    g = torch.Generator().manual_seed(0)
    kinds = torch.rand(6, entries, generator=g) < 0.5
    mask = kinds[torch.randint(0, 6, shape, generator=g)]
    patterns, which = patterns_of(mask)
    assert which.shape == shape
    assert torch.equal(patterns[which], mask)
    assert len(patterns) == len(mask.flatten(0, -2).unique(dim=0))


def test_no_rows_have_no_patterns():
    patterns, which = patterns_of(torch.zeros(0, 3, dtype=torch.bool))
    assert patterns.shape == (0, 3)
    assert which.shape == (0,)
