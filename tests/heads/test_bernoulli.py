"""The head of binary entries: what nets see of them."""

import torch

from likeness.heads.bernoulli import Bernoulli


def test_nets_see_binary_entries_about_their_marginal_chance() -> None:
    """Inputs far from zero mean are slow to learn from: pixels that are mostly 0 were once mostly -1."""
    g = torch.Generator().manual_seed(0)
    x = (torch.rand(2000, 3, generator=g) < torch.tensor([0.05, 0.5, 0.9])).double()
    head = Bernoulli(3)
    head.fit(x, torch.ones_like(x, dtype=torch.bool), torch.ones(len(x), dtype=torch.float64))
    seen = head.embed(x)[..., 0]
    assert (seen.mean(0).abs() < 1e-3).all()  # but for the half row added to each side
    one, zero = (
        head.embed(torch.ones(3).double())[..., 0],
        head.embed(torch.zeros(3).double())[..., 0],
    )
    assert torch.allclose(one - zero, torch.full((3,), 2.0).double())
    hidden = head.embed(x, torch.zeros_like(x, dtype=torch.bool))[..., 0]
    assert (hidden == 0).all()
