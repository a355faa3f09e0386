"""Series of one step or none, of one step more, and with nothing, all or the last step hidden."""

import functools

import numpy as np
import pytest
import torch

from likeness.core.batch import Batch, as_batch
from likeness.core.model import Model
from likeness.core.space import Space, sequence, series
from likeness.data.source import Table
from likeness.learn.run import Run
from likeness.registry import build, load_all

load_all()
LONGEST = 5
FAMILIES = ("linear_dynamical", "hmm", "markov", "autoregressive", "mixture", "independent")
EVEN = series(2, LONGEST).model_copy(update={"shape": (LONGEST, 2)})
SHORT = {"real": series(2, 1), "coded": sequence(3, 1)}
HIDDEN = {"nothing": slice(0, 0), "the last step": slice(-1, None), "everything": slice(None)}


def items(space: Space, rows: int, steps: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    if space.real:
        return rng.normal(size=(rows, steps, 2)).cumsum(1)
    return rng.integers(0, 3, size=(rows, steps)).astype(float)


@functools.cache
def fitted(name: str, space: Space, steps: int) -> Model:
    model = build(name, {}, space)
    model = model.to(dtype=model.natural_dtype)
    return Run(model, Table(space, as_batch(space, items(space, 12, steps))), "3 steps").fit()


def hiding(x: np.ndarray, hidden: slice) -> torch.Tensor:
    known = np.array(x)
    known[:, hidden] = np.nan
    return torch.as_tensor(known)


@pytest.mark.parametrize("hidden", HIDDEN)
@pytest.mark.parametrize("name", FAMILIES)
def test_series_of_one_length_are_completed_whatever_is_hidden(name, hidden):
    x = items(EVEN, 3, LONGEST)
    known = hiding(x, HIDDEN[hidden])
    drawn = fitted(name, EVEN, LONGEST).complete(known, n=4, seed=0).x
    told = ~known.isnan()
    assert drawn.shape == (4, 3, LONGEST, 2)
    assert torch.equal(drawn[:, told], torch.as_tensor(x).to(drawn)[told].expand(4, -1))
    spread = drawn.std(0)[~told]
    assert bool((spread > 0).all())


def test_a_series_of_one_length_goes_on_by_one_step_as_the_first_of_two():
    """A forecast of one step, against that of two steps and against the mean by the closed form."""
    model = fitted("linear_dynamical", EVEN, LONGEST)
    x = items(EVEN, 2, LONGEST)
    one = model.forecast(x, 1, n=4000, seed=0).x
    two = model.forecast(x, 2, n=4000, seed=1).x[:, :, :1]
    assert one.shape == (4000, 2, 1, 2)
    error = ((one.var(0) + two.var(0)) / 4000).sqrt()
    assert bool(((one.mean(0) - two.mean(0)).abs() < 5 * error).all())


@pytest.mark.parametrize("kind", SHORT)
@pytest.mark.parametrize("name", FAMILIES)
def test_series_of_one_step_are_fitted_scored_and_drawn(name, kind):
    space = SHORT[kind]
    if name == "linear_dynamical" and not space.real:
        pytest.skip("its steps are Gaussian")
    model = fitted(name, space, 1)
    x = items(space, 3, 1)
    assert bool(model.log_prob(x).value.isfinite().all())
    assert model.sample(3, seed=0).x.shape == (3, *x.shape[1:])
    assert model.complete(hiding(x, slice(None)), n=2, seed=0).x.shape == (2, *x.shape)


@pytest.mark.parametrize("name", ["linear_dynamical", "hmm", "markov", "autoregressive"])
def test_a_series_without_steps_beside_longer_ones_keeps_their_answers(name):
    space = series(2, LONGEST)
    model = fitted(name, space, LONGEST)
    x = as_batch(space, items(space, 2, LONGEST))
    alone = model.log_prob(Batch(x.x[:1], length=torch.tensor([LONGEST]))).value
    beside = model.log_prob(Batch(x.x, length=torch.tensor([LONGEST, 0]))).value
    assert float(beside[0]) == pytest.approx(float(alone[0]), abs=1e-4)
    if not model.ends:
        assert float(beside[1]) == pytest.approx(0.0, abs=1e-9)
