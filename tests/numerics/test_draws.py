"""Codes by inverse CDF: the smallest whose cumulative weight lies above the uniform number's share."""

import pytest
import torch

from likeness.numerics.draws import FEW_CODES, from_staircase, inverse_cdf, staircase

SIZES = (1, 2, FEW_CODES, FEW_CODES + 1, 60)


def weights(*shape):
    w = torch.rand(*shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return torch.where(w < 0.2, 0.0, w) + 1e-9 * (torch.arange(shape[-1]) == 0)


def uniforms(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)


def smallest(weight, u):
    """The same by a walk along one law's codes."""
    total, reached = sum(weight), 0.0
    for code, w in enumerate(weight):
        reached += w
        if u * total < reached:
            return code
    return len(weight) - 1


@pytest.mark.parametrize("codes", SIZES)
def test_each_law_gives_the_smallest_code_above_its_uniform_number(codes):
    w, u = weights(50, codes), uniforms(50)
    expected = [smallest(row, float(v)) for row, v in zip(w.tolist(), u, strict=True)]
    assert inverse_cdf(w.cumsum(-1), u).tolist() == expected


@pytest.mark.parametrize("codes", SIZES)
def test_many_draws_of_each_law_equal_its_draws_one_by_one(codes):
    cdf, u = weights(5, codes).cumsum(-1), uniforms(5, 40)
    each = torch.stack([inverse_cdf(cdf, column) for column in u.T], 1)
    assert torch.equal(inverse_cdf(cdf[:, None], u), each)


@pytest.mark.parametrize("codes", SIZES)
def test_one_law_serves_uniform_numbers_of_any_shape(codes):
    cdf, u = weights(codes).cumsum(-1), uniforms(4, 6)
    assert torch.equal(inverse_cdf(cdf, u), inverse_cdf(cdf.expand(4, 6, codes), u))


@pytest.mark.parametrize("codes", SIZES)
def test_a_code_without_weight_is_never_drawn(codes):
    w = torch.zeros(codes, dtype=torch.float64)
    w[codes // 2] = 3.0
    u = torch.tensor([0.0, 0.5, 1 - 2**-53], dtype=torch.float64)
    assert inverse_cdf(w.cumsum(-1), u).tolist() == [codes // 2] * 3


@pytest.mark.parametrize("codes", SIZES)
def test_single_precision_weights_are_searched_at_the_precision_of_the_uniform_numbers(codes):
    w, u = weights(20, codes).float(), uniforms(20)
    assert torch.equal(inverse_cdf(w.cumsum(-1), u), inverse_cdf(w.cumsum(-1).double(), u))


def test_a_staircase_gives_the_codes_of_its_laws():
    w, law, u = weights(7, 9), torch.arange(200) % 7, uniforms(200)
    assert torch.equal(from_staircase(staircase(w), 9, law, u), inverse_cdf(w.cumsum(-1)[law], u))
