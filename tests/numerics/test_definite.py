"""Covariances that have a Cholesky factor, whatever they were summed from."""

import pytest
import torch

from likeness.numerics.gaussian import definite, varying


def covariance(rows: int, columns: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    x = torch.randn(rows, columns, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = (x - x.mean(0)).to(dtype)
    return (x.T @ x / rows).double()


def test_a_covariance_with_a_factor_stays_as_it_is():
    cov = covariance(500, 5)
    assert definite(cov, 1e-6) is cov


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_covariance_of_fewer_rows_than_columns_gets_a_factor_and_keeps_its_entries(dtype):
    cov = covariance(20, 200, dtype)
    assert int(torch.linalg.cholesky_ex(cov).info) > 0
    raised = definite(cov, 1e-6)
    assert int(torch.linalg.cholesky_ex(raised).info) == 0
    assert torch.allclose(raised, cov, rtol=0, atol=1e-5)


def test_a_change_of_units_changes_nothing():
    cov = covariance(4, 8)
    unit = torch.logspace(-9, 9, 8, dtype=torch.float64)
    scaled = definite(cov * unit * unit[:, None], 1e-6)
    plain = definite(cov, 1e-6) * unit * unit[:, None]
    assert torch.allclose(scaled / unit / unit[:, None], plain / unit / unit[:, None], atol=1e-9)


def test_only_the_covariances_that_lack_a_factor_are_raised():
    both = torch.stack([covariance(500, 6), covariance(3, 6)])
    raised = definite(both, 1e-6)
    assert torch.equal(raised[0], both[0])
    assert int(torch.linalg.cholesky_ex(raised[1]).info) == 0


def test_a_variance_of_rounding_is_none():
    assert varying(torch.tensor([1e-30, 0.0, 0.25])).tolist() == [1.0, 1.0, 0.25]
