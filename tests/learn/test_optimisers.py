"""Muon: steps with nearly equal singular values, as torch's own takes them, on kernels too, and resumed bit by bit."""

import pytest
import torch
from torch import nn

from likeness.core.batch import Batch
from likeness.core.config import GradientConfig
from likeness.core.space import vector
from likeness.data.source import Table
from likeness.learn.optimisers import Muon, optimisers, orthogonal
from likeness.learn.run import Run
from likeness.registry import build, load_all

load_all()
MUON = {"muon": 0.02, "hidden": (48, 48), "batch": 64}


def reals(rows: int = 300) -> Table:
    x = torch.randn(rows, 3, generator=torch.Generator().manual_seed(0))
    return Table(vector(3), Batch(x @ torch.tensor([[1.0, 0.5, 0], [0, 1, 0.5], [0, 0, 1]])))


@pytest.mark.parametrize("shape", [(40, 40), (40, 200), (200, 40)])
def test_the_step_keeps_directions_and_levels_their_sizes(shape) -> None:
    m = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    u, s, v = torch.linalg.svd(m, full_matrices=False)
    assert s.max() / s.min() > 2
    made = orthogonal(m)
    sizes = torch.diagonal(u.T @ made @ v.T)
    assert sizes.min() > 0.6 and sizes.max() < 1.3
    assert torch.allclose(made, u @ torch.diag(sizes) @ v, atol=1e-4)


def test_it_moves_a_matrix_as_torchs_own_does() -> None:
    g = torch.Generator().manual_seed(2)
    start, gradients = torch.randn(64, 48, generator=g), torch.randn(5, 64, 48, generator=g)
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    pairs = [(ours, Muon([ours], lr=0.1, weight_decay=0.2)),
             (theirs, torch.optim.Muon([theirs], lr=0.1, weight_decay=0.2))]  # fmt: skip
    for gradient in gradients:
        for p, optimiser in pairs:
            p.grad = gradient.clone()
            optimiser.step()
    moved = (theirs - start).norm()
    assert (ours - theirs).norm() < 0.02 * moved  # torch iterates in bfloat16


def test_a_kernel_is_moved_as_the_matrix_it_is_in_any_memory_layout() -> None:
    g = torch.Generator().manual_seed(3)
    start, gradient = torch.randn(32, 16, 2, 3, generator=g), torch.randn(32, 16, 2, 3, generator=g)
    flat, plain = nn.Parameter(start.flatten(1).clone()), nn.Parameter(start.clone())
    last = nn.Parameter(start.to(memory_format=torch.channels_last))
    for p in (flat, plain, last):
        p.grad = gradient.reshape(p.shape).clone()
        Muon([p], lr=0.1).step()
    for p in (plain, last):
        assert torch.allclose(p.flatten(1), flat, atol=1e-5)


def test_narrow_matrices_and_vectors_stay_with_adam() -> None:
    shapes = [(64, 64), (64,), (64, 3), (1, 64), (32, 4, 3, 3)]
    parameters = [nn.Parameter(torch.zeros(s)) for s in shapes]
    muon, adam = optimisers(parameters, GradientConfig(muon=0.02, lr=0.001), (0.9, 0.999))
    assert [tuple(p.shape) for p in muon.param_groups[0]["params"]] == [(64, 64), (32, 4, 3, 3)]
    assert len(adam.param_groups[0]["params"]) == 3
    assert (muon.param_groups[0]["peak"], adam.param_groups[0]["peak"]) == (0.02, 0.001)
    assert len(optimisers(parameters, GradientConfig(), (0.9, 0.999))) == 1


@pytest.mark.parametrize("family", ["flow", "vae"])
def test_a_resumed_run_ends_with_the_same_bits(tmp_path, family: str) -> None:
    def run(**options) -> Run:
        return Run(build(family, MUON, reals().space, seed=0), reals(), 12, seed=3, **options)

    whole = run().fit()
    first = run(out=tmp_path)
    for _ in range(5):
        first.step()
    first.save()
    resumed = run(out=tmp_path, resume=True).fit().state_dict()
    assert all(torch.equal(v, resumed[k]) for k, v in whole.state_dict().items())
