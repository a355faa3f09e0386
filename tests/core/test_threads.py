"""Twenty threads get the bits of serial runs, and leave nothing of the process's changed."""

import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from likeness.core.ambient import Seeded
from likeness.core.batch import Batch
from likeness.core.precision import arithmetic, exact, products
from likeness.core.quiet import filtered
from likeness.core.space import vector
from likeness.data.source import Table
from likeness.learn.run import Run
from likeness.registry import families, store

THREADS = 20
OPTIONS = {"layers": 2, "hidden": (16,), "batch": 32}
SWITCH = torch.backends.mkldnn.matmul


def in_threads(work):
    """What work gives for 0..19, in as many threads that begin together."""
    together = threading.Barrier(THREADS)

    def begun(k):
        together.wait()
        return work(k)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(begun, range(THREADS)))


def built(seed):
    return store.digest(families.build("flow", OPTIONS, vector(3), seed=seed).state_dict())


def fitted(seed):
    """A fit, every other one by oneDNN's products, where those are exact."""
    precision = "onednn" if seed % 2 and exact() else "fp32"
    g = torch.Generator().manual_seed(seed)
    data = Table(vector(3), Batch(torch.randn(64, 3, generator=g)))
    model = families.build("flow", {**OPTIONS, "precision": precision}, vector(3), seed=seed)
    return store.digest(Run(model, data, 4, seed=seed).fit().state_dict())


@pytest.fixture
def untouched():
    """The process's own generators, switches and filters, which must be what they were."""
    torch.manual_seed(11)
    np.random.seed(11)
    before = (torch.get_rng_state(), str(np.random.get_state()), SWITCH.fp32_precision)
    yield
    assert torch.equal(torch.get_rng_state(), before[0])
    assert str(np.random.get_state()) == before[1]
    assert SWITCH.fp32_precision == before[2]
    assert torch.get_float32_matmul_precision() == "highest"


def test_models_built_in_threads_have_the_weights_of_their_seeds(untouched):
    assert in_threads(built) == [built(seed) for seed in range(THREADS)]


def test_fits_in_threads_have_the_bits_of_serial_ones(untouched):
    assert in_threads(fitted) == [fitted(seed) for seed in range(THREADS)]


def test_weights_are_those_of_torchs_own_generator():
    torch.manual_seed(5)
    truth = [
        torch.nn.Linear(3, 4).weight.detach(),
        torch.randperm(9),
        torch.rand_like(torch.ones(3)),
    ]
    torch.manual_seed(0)
    before = torch.get_rng_state()
    with Seeded(5):
        found = [
            torch.nn.Linear(3, 4).weight.detach(),
            torch.randperm(9),
            torch.rand_like(torch.ones(3)),
        ]
    assert all(torch.equal(a, b) for a, b in zip(truth, found, strict=True))
    assert torch.equal(torch.get_rng_state(), before)


def test_threads_of_one_arithmetic_never_compute_under_anothers_switch(untouched):
    plain = SWITCH.fp32_precision

    def work(k):
        seen = []
        for turn in range(100):
            onednn = (k + turn) % 3 == 0
            with products("onednn" if onednn else "fp32"):
                seen.append((SWITCH.fp32_precision != plain) == onednn)
        return all(seen)

    assert all(in_threads(work))


def test_errors_leave_no_switch_behind(untouched):
    def work(k):
        with (
            pytest.raises(ZeroDivisionError),
            arithmetic("onednn", torch.device("cpu")),
            products("fp32"),
            products("onednn"),
        ):
            raise ZeroDivisionError

    in_threads(work)


def test_the_innermost_arithmetic_holds():
    plain = SWITCH.fp32_precision
    with products("onednn"):
        on = SWITCH.fp32_precision
        with products("fp32"):
            assert SWITCH.fp32_precision == plain
        assert SWITCH.fp32_precision == on != plain
    assert SWITCH.fp32_precision == plain


def test_filters_of_warnings_are_put_back_whatever_threads_do():
    filters = list(warnings.filters)

    def work(_):
        for _ in range(50):
            with filtered("ignore"):
                warnings.warn("unheard", stacklevel=1)

    in_threads(work)
    assert warnings.filters == filters
