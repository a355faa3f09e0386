"""Noise: what a row is given depends on (seed, use, index, draw, step) and on nothing else."""

import random

import numpy as np
import pytest
import torch

from likeness.core.noise import Noise, mix, mix_each


@pytest.mark.parametrize("seed", [0, 7, -3, 2**70])
def test_many_seeds_at_once_are_those_one_by_one(seed):
    words = torch.tensor([0, 1, 2, 63, 2**40 + 5, -1, -(2**63), 2**63 - 1])
    assert mix_each(seed, words).tolist() == [mix(seed, int(w)) for w in words]


def test_rows_do_not_depend_on_their_neighbours() -> None:
    whole = Noise(7, torch.arange(300)).normal("x", 5)
    order = torch.randperm(300, generator=torch.Generator().manual_seed(0))
    assert torch.equal(Noise(7, order).normal("x", 5), whole[order])
    assert torch.equal(Noise(7, torch.tensor([137])).normal("x", 5), whole[137:138])


def test_draws_continue_where_the_first_ended() -> None:
    noise = Noise(3, torch.tensor([5, 900]))
    many = noise.draws(6).uniform("u", 2).reshape(6, 2, 2)
    assert torch.equal(noise.draws(4, first=2).uniform("u", 2).reshape(4, 2, 2), many[2:])


def test_every_key_matters() -> None:
    index = torch.arange(64)
    base = Noise(1, index).normal("x", 3)
    changed = [{"seed": 2}, {"index": index + 64}, {"draw": 1}, {"step": 1}, {"scope": "s"}]
    others = [Noise(**{"seed": 1, "index": index, **c}).normal("x", 3) for c in changed]
    others.append(Noise(1, index).normal("y", 3))
    for other in others:
        assert float((base - other).abs().min()) > 0
        correlation = float(torch.corrcoef(torch.stack([base.flatten(), other.flatten()]))[0, 1])
        assert abs(correlation) < 5 / 192**0.5


def test_ambient_generators_are_neither_read_nor_disturbed() -> None:
    torch.manual_seed(1), np.random.seed(1), random.seed(1)
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    first = Noise(9, torch.arange(10)).normal("x", 2)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all()
    assert random.getstate() == states[2]
    torch.manual_seed(2)
    assert torch.equal(Noise(9, torch.arange(10)).normal("x", 2), first)


def test_moments() -> None:
    z = Noise(0, torch.arange(200_000), dtype=torch.float64).normal("x", 1)
    assert abs(float(z.mean())) < 5 / 200_000**0.5
    assert abs(float(z.var()) - 1) < 5 * (2 / 200_000) ** 0.5
    u = Noise(0, torch.arange(200_000), dtype=torch.float64).uniform("x", 1)
    assert float(u.min()) >= 0
    assert float(u.max()) < 1
    assert abs(float(u.mean()) - 0.5) < 5 * (1 / 12 / 200_000) ** 0.5


def test_seeds_do_not_collide() -> None:
    seen = {mix(s, u, t) for s in range(20) for u in range(20) for t in range(20)}
    assert len(seen) == 8000
