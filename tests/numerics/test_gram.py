"""X' X by the symmetric product agrees with the general one, however the rows lie and where gradients are wanted."""

import pytest
import torch

from likeness.numerics.gram import gram


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rows", [0, 1, 7, 300])
def test_it_is_the_general_product(rows, dtype):
    x = torch.randn(rows, 5, dtype=dtype, generator=torch.Generator().manual_seed(rows))
    for form in (x, x.flip(0), x.t().contiguous().t()):
        found = gram(form)
        assert found.dtype == dtype
        torch.testing.assert_close(found, torch.einsum("ni,nj->ij", form, form))


def test_gradients_pass():
    x = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, 3, dtype=torch.float64)
    (gram(x) * weight).sum().backward()
    torch.testing.assert_close(x.grad, x.detach() @ (weight + weight.T))
