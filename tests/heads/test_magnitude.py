"""The head of values of many orders of magnitude: what nets see of them."""

import torch

from likeness.heads.magnitude import Magnitude


def test_nets_see_a_size_that_both_sides_of_the_centre_share() -> None:
    g = torch.Generator().manual_seed(0)
    x = 2 + torch.randn(2000, 1, generator=g, dtype=torch.float64) ** 3
    head = Magnitude(1).double()
    head.fit(x, torch.ones_like(x, dtype=torch.bool), torch.ones(len(x), dtype=torch.float64))
    assert head.features == 3  # value, size, presence
    there, mirrored = head.embed(x), head.embed(2 * head.centre - x)
    assert torch.allclose(there[..., 1], mirrored[..., 1], atol=1e-9, rtol=0)
    assert not torch.allclose(there[..., 0], mirrored[..., 0])
    assert abs(float(there[..., 1].mean())) < 1e-9
    assert abs(float(there[..., 1].std(correction=0)) - 1) < 1e-9
