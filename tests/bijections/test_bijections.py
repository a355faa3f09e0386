"""Every bijection: log-determinants against the Jacobian, inverses, and a start at the identity."""

import math

import pytest
import torch

from likeness.bijections import (
    LU,
    Affine,
    AffineStep,
    Autoregressive,
    Bijection,
    Chain,
    Coupling,
    Permutation,
    SplineStep,
)
from likeness.bijections.preprocess import Reals
from likeness.core.batch import Batch
from likeness.core.errors import BadConfig, Unsupported
from likeness.core.noise import Noise
from likeness.core.space import Real, vector
from likeness.data.source import Table
from likeness.nets.masked import MaskedNet
from likeness.nets.mlp import MLP

DIMS, SIDE = 5, 2
MOVED = [True, False, True, False, True]


def masked(step, **options) -> Autoregressive:
    return Autoregressive(
        MaskedNet([1] * DIMS, [step.size] * DIMS, hidden=(16, 16), **options), step
    )


def coupled(step, context=0) -> Coupling:
    return Coupling(MLP(2, 3 * step.size, hidden=(16,), context=context, zero=True), MOVED, step)


MAKERS = {
    "affine": lambda: Affine(DIMS),
    "LU": lambda: LU(DIMS),
    "LU after a permutation": lambda: LU(DIMS, [3, 1, 4, 0, 2]),
    "masked affine": lambda: masked(AffineStep()),
    "masked affine, given": lambda: masked(AffineStep(), context=SIDE),
    "masked affine, Markov": lambda: masked(AffineStep(), window=1, order=[4, 3, 2, 1, 0]),
    "masked spline": lambda: masked(SplineStep(6, 4.0)),
    "masked spline, given, mixed": lambda: masked(
        SplineStep(6, 4.0), context=SIDE, order=[3, 1, 4, 0, 2]
    ),
    "coupling affine, given": lambda: coupled(AffineStep(), context=SIDE),
    "coupling spline": lambda: coupled(SplineStep(6, 4.0)),
    "chain": lambda: Chain(
        [masked(SplineStep(6, 4.0)), LU(DIMS), masked(AffineStep(), order=[4, 3, 2, 1, 0])]
    ),
}
ENTRYWISE = [name for name in MAKERS if "LU" not in name and name != "chain"]


@pytest.fixture(autouse=True)
def double():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(before)


def bent(name: str, size: float = 0.1) -> Bijection:
    """A bijection whose parameters are far from the identity's."""
    made = MAKERS[name]()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_().mul_(size)
    return made


def points(rows: int = 12) -> torch.Tensor:
    """Standard normal rows, with one variable or all of them 40 sigma away in the last ones."""
    x = torch.randn(rows, DIMS)
    x[-1] = 40 * x[-1].sign()
    x[-2, 0], x[-3, 2], x[-4] = 40.0, -40.0, 0.0
    return x


def given(name: str, rows: int = 12) -> torch.Tensor | None:
    return torch.randn(rows, SIDE) if "given" in name else None


@pytest.mark.parametrize("name", MAKERS)
def test_log_determinants_are_those_of_the_jacobian(name):
    f, x, c = bent(name), points(), given(name)
    y, ladj = f(x, c)
    whole = torch.autograd.functional.jacobian(
        lambda v: f(v, c)[0].sum(0), x
    )  # (D, B, D): rows do not mix
    assert torch.allclose(torch.linalg.slogdet(whole.transpose(0, 1))[1], ladj, rtol=0, atol=1e-9)
    back = torch.autograd.functional.jacobian(lambda v: f.inverse(v, c)[0].sum(0), y.detach())
    assert torch.allclose(torch.linalg.slogdet(back.transpose(0, 1))[1], -ladj, rtol=0, atol=1e-8)


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("grad", [False, True])
def test_the_inverse_inverts(name, grad):
    f, x, c = bent(name), points(), given(name)
    with torch.set_grad_enabled(grad):
        y, ladj = f(x, c)
        back, negative = f.inverse(y, c)
    assert ((back - x).abs() / (1 + x.abs())).max() < 1e-10
    assert torch.allclose(negative, -ladj, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", MAKERS)
def test_the_inverse_inverts_in_single_precision(name):
    f, x, c = bent(name, 0.05).float(), points(200).float(), given(name, 200)
    c = None if c is None else c.float()
    with torch.no_grad():
        back, _ = f.inverse(f(x, c)[0], c)
    assert ((back - x).abs() / (1 + x.abs())).max() < 1e-5


@pytest.mark.parametrize("name", MAKERS)
def test_values_and_gradients_are_finite_far_out(name):
    f, x, c = bent(name, 1.0), (40 * torch.randn(50, DIMS)).requires_grad_(), given(name, 50)
    for way in (f, f.inverse):
        out, ladj = way(x, c)
        gradients = torch.autograd.grad(
            out.sum() + ladj.sum(), [x, *f.parameters()], allow_unused=True
        )
        assert all(bool(t.isfinite().all()) for t in (out, ladj, *gradients) if t is not None)


@pytest.mark.parametrize("name", MAKERS)
def test_a_new_one_is_the_identity(name):
    f, x, c = MAKERS[name](), points(), given(name)
    wanted = x[:, [3, 1, 4, 0, 2]] if "permutation" in name else x
    y, ladj = f(x, c)
    assert torch.allclose(y, wanted, rtol=0, atol=1e-12)
    assert torch.allclose(ladj, torch.zeros(len(x)), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ENTRYWISE)
def test_absent_entries_pass_through_and_tell_nobody_anything(name):
    f, c = bent(name), given(name)
    x, present = points(), torch.arange(DIMS) < torch.randint(1, DIMS + 1, (12, 1))
    other = torch.where(present, x, torch.randn_like(x))
    for way in (f, f.inverse):
        y, ladj = way(x, c, present)
        again, same = way(other, c, present)
        assert torch.equal(y[~present], x[~present])
        assert torch.allclose(again[present], y[present], rtol=0, atol=1e-13)
        assert torch.allclose(same, ladj, rtol=0, atol=1e-13)
    with torch.no_grad():
        y, ladj = f(x, c, present)
        back, negative = f.inverse(y, c, present)
    assert torch.allclose(back, x, rtol=1e-9, atol=1e-9)
    assert torch.allclose(negative, -ladj, rtol=0, atol=1e-9)
    lone = torch.autograd.functional.jacobian(lambda v: f(v, c, present)[0].sum(0), x).transpose(
        0, 1
    )
    assert torch.allclose(torch.linalg.slogdet(lone)[1], ladj, rtol=0, atol=1e-9)


@pytest.mark.parametrize("f", [LU(DIMS), Permutation(range(DIMS))])
def test_maps_that_mix_variables_refuse_absent_ones(f):
    for way in (f, f.inverse):
        with pytest.raises(Unsupported, match="absent"):
            way(torch.zeros(1, DIMS), None, torch.ones(1, DIMS, dtype=torch.bool))


def test_a_permutation_and_its_inverse():
    f, x = Permutation([2, 0, 1]), torch.tensor([[1.0, 2.0, 3.0]])
    assert f(x)[0].tolist() == [[3.0, 1.0, 2.0]]
    assert f.inverse(f(x)[0])[0].tolist() == x.tolist()


def test_an_affine_map_settles_on_the_data():
    f, x = Affine(2), torch.randn(1000, 2) * torch.tensor([3.0, 0.1]) + torch.tensor([5.0, -2.0])
    f.settle(x)
    y, ladj = f(x)
    assert torch.allclose(y.mean(0), torch.zeros(2), rtol=0, atol=1e-10)
    assert torch.allclose(y.std(0, correction=0), torch.ones(2), rtol=0, atol=1e-10)
    assert torch.allclose(ladj, -x.std(0, correction=0).log().sum().expand(1000))


def test_low_precision_nets_leave_the_variables_in_full_precision():
    f = Chain([bent("masked spline"), bent("LU"), bent("coupling spline")]).float()
    x = torch.randn(50, DIMS, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, ladj = f(x)
    assert y.dtype == ladj.dtype == torch.float32
    assert (y - f(x)[0]).abs().max() < 0.3  # the nets' rounding
    with torch.autocast("cpu", dtype=torch.bfloat16):
        linear = f.parts[1](x)[0]
    assert torch.equal(linear, f.parts[1](x)[0])


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(BadConfig, match="parameters"):
        Autoregressive(MaskedNet([1, 1], [3, 3]), AffineStep())
    with pytest.raises(BadConfig, match="coupling"):
        Coupling(MLP(2, 2), [True, True], AffineStep())
    with pytest.raises(BadConfig, match="order"):
        Permutation([0, 0])


@pytest.mark.parametrize("bounds", [(0.0, None), (None, 1.0), (0.0, 1.0)])
@pytest.mark.parametrize("size", [1e-8, 1.0, 1e8])
def test_bounded_reals_know_no_unit(bounds, size):
    """Values in other units have the same places in model units, and log p moves by the log of the unit."""
    x = torch.rand(500, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = []
    for unit in (1.0, size):
        lower, upper = (None if b is None else b * unit for b in bounds)
        space = vector(1, Real(lower=lower, upper=upper))
        reals = Reals(space).double()
        reals.fit(Table(space, Batch(x * unit)))
        y, ladj, _ = reals(Batch(x * unit), Noise(0, torch.arange(500), dtype=torch.float64))
        torch.testing.assert_close(reals.inverse(y.x) / unit, x, rtol=0, atol=1e-9)
        found.append((y.x, ladj + math.log(unit)))
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-7)
