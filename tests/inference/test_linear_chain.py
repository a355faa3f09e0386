"""Distributions over paths of states against enumeration, both recursions against each other, and autograd."""

import itertools

import pytest
import torch
from torch.nn.functional import pad

from likeness.inference.sequence.linear_chain import Paths, smoothed

LENGTH = torch.tensor([6, 1, 3, 5])
WEIGHT = torch.tensor([1.0, 2.0, 0.5, 1.0], dtype=torch.float64)


def case(
    k: int = 3, steps: int = 6, rows: int = 4, *, banned: bool = False, normalised: bool = True
) -> Paths:
    g = torch.Generator().manual_seed(k + steps + rows)
    step = torch.randn(k, k, generator=g, dtype=torch.float64) * 2
    step = step.log_softmax(-1) if normalised else step
    if banned:
        step[0, 1] = -torch.inf
    first, unary = (
        torch.randn(*size, generator=g, dtype=torch.float64) * 3
        for size in ((k,), (rows, steps, k))
    )
    return Paths(first, step, unary, LENGTH[:rows] if steps == 6 else None)


def enumerated(paths: Paths, row: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Every path of a row, laid out to the longest, and the logarithm of its weight."""
    n, k = int(LENGTH[row]), len(paths.log_first)
    every = torch.tensor(list(itertools.product(range(k), repeat=n)))
    value = paths.log_first[every[:, 0]] + paths.unary[row, torch.arange(n), every].sum(-1)
    return every, value + paths.log_step[every[:, :-1], every[:, 1:]].sum(-1)


@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize("banned", [True, False])
def test_sums_marginals_and_best_paths_equal_enumeration(banned: bool, normalised: bool) -> None:
    paths = case(banned=banned, normalised=normalised)
    gamma, pairs = paths.smooth(WEIGHT)
    (best, height), counted = paths.best(), torch.zeros_like(pairs)
    for row in range(4):
        every, value = enumerated(paths, row)
        n, p = every.shape[1], value.softmax(0)
        assert float(paths.log_z[row]) == pytest.approx(float(value.logsumexp(0)), abs=1e-10)
        assert torch.equal(best[row, :n], every[value.argmax()])
        assert float(height[row]) == pytest.approx(float(value.max()), abs=1e-10)
        hot = torch.nn.functional.one_hot(every, 3).double()
        assert torch.allclose(gamma[row, :n], (p[:, None, None] * hot).sum(0), atol=1e-10)
        assert not gamma[row, n:].any()
        counted += WEIGHT[row] * torch.einsum("p,pti,ptj->ij", p, hot[:, :-1], hot[:, 1:])
        scores = Paths(
            paths.log_first,
            paths.log_step,
            paths.unary[[row] * len(every)],
            LENGTH[[row] * len(every)],
        )
        finite = value.isfinite()
        assert torch.allclose(
            scores.score(pad(every, (0, 6 - n)))[finite], value[finite], atol=1e-9
        )
    assert torch.allclose(pairs, counted, atol=1e-10)


def test_draws_follow_the_law_of_the_paths() -> None:
    paths, n = case(), 20_000
    u = torch.rand(n, 4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    drawn = paths.draw(u)
    for row in range(4):
        every, value = enumerated(paths, row)
        code = (drawn[:, row, : every.shape[1]] * 3 ** torch.arange(every.shape[1]).flip(0)).sum(-1)
        share = torch.bincount(code, minlength=len(every)).double() / n
        p = value.softmax(0)
        assert bool(((share - p).abs() < 5 * (p * (1 - p) / n).sqrt() + 5 / n).all())


def test_the_gradient_is_what_autograd_finds_by_differences() -> None:
    paths = case()
    inputs = [t.clone().requires_grad_() for t in (paths.log_first, paths.log_step, paths.unary)]
    assert torch.autograd.gradcheck(lambda *t: Paths(*t, LENGTH).log_z, inputs)


@pytest.mark.parametrize("length", [None, torch.tensor([1003, 500, 7])])
def test_long_rows_in_blocks_equal_step_by_step_and_sums_of_logarithms(length) -> None:
    g = torch.Generator().manual_seed(0)
    first, step, unary = (
        torch.randn(*s, generator=g, dtype=torch.float64) for s in ((4,), (4, 4), (3, 1003, 4))
    )
    made = [
        Paths(first.log_softmax(-1), (2 * step).log_softmax(-1), 30 * unary, length)
        for _ in range(3)
    ]
    blocks, serial, logs = made
    assert blocks._blocks > 1
    serial.__dict__["_blocks"], logs.__dict__["_scaled"] = 1, False
    for other, near in ((serial, 1e-12), (logs, 1e-8)):
        assert torch.allclose(blocks.log_z, other.log_z, rtol=1e-13)
        for one, two in zip(blocks.smooth(), other.smooth(), strict=True):
            assert torch.allclose(one, two, atol=near, rtol=1e-9)


@pytest.mark.parametrize("length", [None, torch.tensor([170, 161, 7])])
def test_long_rows_under_weights_that_do_not_add_up_to_one(length) -> None:
    """Weights of a random field: what is added to fill a block would not be nothing there."""
    g = torch.Generator().manual_seed(0)
    first, step, unary = (
        torch.randn(*s, generator=g, dtype=torch.float64) for s in ((5,), (5, 5), (3, 170, 5))
    )
    fast, logs = (Paths(first, 0.1 * step, unary, length) for _ in range(2))
    logs.__dict__["_scaled"] = False
    assert torch.allclose(fast.log_z, logs.log_z, rtol=1e-12)
    for one, two in zip(fast.smooth(), logs.smooth(), strict=True):
        assert torch.allclose(one, two, atol=1e-9)


def test_ten_thousand_steps_with_values_forty_deviations_out_keep_nine_digits() -> None:
    g = torch.Generator().manual_seed(1)
    x = torch.randn(1, 10_000, generator=g, dtype=torch.float64)
    x[0, ::10] += 40 * torch.randn(1000, generator=g, dtype=torch.float64).sign()
    unary = -0.5 * (x[..., None] - torch.tensor([-1.0, 0.0, 2.0], dtype=torch.float64)).square()
    step = torch.tensor(
        [[0.9, 0.1, 1e-90], [0.2, 0.7, 0.1], [1e-90, 0.5, 0.5]], dtype=torch.float64
    ).log()
    fast, slow = (Paths(torch.zeros(3, dtype=torch.float64), step, unary) for _ in range(2))
    slow.__dict__["_scaled"] = False
    assert float((fast.log_z / slow.log_z - 1).abs()) < 1e-9


def test_a_state_that_lost_all_its_share_is_found_again() -> None:
    """Scaled sums would lose a state for good that can only stay: there logarithms are summed."""
    step = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64).log()
    unary = torch.zeros(1, 40, 2, dtype=torch.float64)
    unary[0, :20, 0], unary[0, 20:, 1] = 100.0, 101.0
    paths = Paths(torch.zeros(2, dtype=torch.float64), step, unary)
    assert float(paths.log_z) == pytest.approx(2020.0, abs=1e-8)
    assert paths.best()[0].unique().tolist() == [1]


def test_rows_of_many_lengths_one_after_the_other_equal_rows_laid_out() -> None:
    paths = case()
    inside = torch.arange(6) < LENGTH[:, None]
    found = smoothed(paths.log_first, paths.log_step, paths.unary[inside], LENGTH, WEIGHT)
    gamma, pairs = paths.smooth(WEIGHT)
    assert torch.allclose(found.gamma, gamma[inside], atol=1e-12)
    assert torch.allclose(found.pairs, pairs, atol=1e-12)
    assert torch.allclose(found.log_z, paths.log_z, atol=1e-12)
    assert torch.allclose(found.first, WEIGHT @ gamma[:, 0], atol=1e-12)
