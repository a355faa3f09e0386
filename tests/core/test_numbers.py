"""Arrays of any type of number keep their digits, masks and order; complex ones are refused."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes
from hypothesis.extra.numpy import arrays as np_arrays

from likeness.core.errors import BadData
from likeness.core.numbers import as_array, as_tensor, lossy

WHOLE = ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", ">i2", ">u4", ">i8", "?")
REAL = ("f2", "f4", "f8", ">f2", ">f4", ">f8", "g")


@given(
    st.sampled_from(WHOLE).flatmap(lambda t: np_arrays(t, array_shapes(max_dims=3))),
    st.sampled_from([slice(None), slice(None, None, -1), slice(None, None, 2)]),
)
def test_whole_numbers_of_every_type_keep_their_digits(x, part):
    view = x[part]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = as_tensor(view)
    assert found.shape == view.shape
    whole = found.double().numpy().astype(object).ravel().tolist()
    kept = [int(a) == int(b) for a, b in zip(whole, view.ravel(), strict=True)]
    assert all(kept) or lossy(as_array(view))


@pytest.mark.parametrize("dtype", REAL)
@pytest.mark.parametrize("flip", [0, 1])
def test_reals_of_every_type_and_order_are_read(dtype, flip):
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(dtype)
    view = np.flip(x, flip)
    np.testing.assert_array_equal(as_tensor(view).double(), view.astype(np.float64))


@pytest.mark.parametrize(
    "dtype",
    [
        *(torch.bfloat16, torch.float16, torch.float32, torch.float64, torch.bool),
        *(torch.int8, torch.int16, torch.int32, torch.int64),
        *(torch.uint8, torch.uint16, torch.uint32, torch.uint64),
    ],
)
def test_tensors_of_every_type_are_read(dtype):
    x = torch.tensor([[0.0, 1.0], [1.0, 0.0]]).to(dtype)
    assert as_tensor(x).dtype in {torch.float32, torch.float64}
    np.testing.assert_array_equal(as_tensor(x).double(), [[0, 1], [1, 0]])
    np.testing.assert_array_equal(as_array(x).astype(float), [[0, 1], [1, 0]])


def test_sparse_and_differentiable_tensors_are_read():
    x = torch.tensor([[0.0, 2.0], [3.0, 0.0]])
    for form in (x.to_sparse(), x.to_sparse_csr(), x.clone().requires_grad_(), x.conj(), -x.neg()):
        np.testing.assert_array_equal(as_array(form), x)


def test_masks_become_missing():
    mask = np.array([[True, False], [False, False]])
    real = np.ma.masked_array([[9.0, 1.0], [2.0, 3.0]], mask)
    whole = np.ma.masked_array([[9, 1], [2, 3]], mask)
    for masked in (
        real,
        whole,
        whole.astype(bool),
        [real[0], real[1]],
        [list(real[0]), [2.0, 3.0]],
    ):
        assert as_tensor(masked).isnan().tolist() == mask.tolist()
    assert as_array(whole).dtype == np.int64
    assert not np.ma.isMaskedArray(as_array(np.ma.masked_array([1, 2], False)))


def test_arrays_that_may_not_be_written_are_copied():
    x = np.arange(4.0)
    x.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = as_tensor(x)
    found += 1
    assert x[0] == 0


@pytest.mark.parametrize(
    "z", [np.array([1 + 1j]), torch.tensor([1 + 1j]), [1j, 2.0], np.array([1j], dtype=np.complex64)]
)
def test_complex_numbers_are_refused(z):
    with pytest.raises(BadData, match=r"complex numbers.*z\.real, z\.imag"):
        as_tensor(z)


@pytest.mark.parametrize("x", [np.array(["a"]), np.array([None]), [[1, 2], [3]], object()])
def test_what_holds_no_numbers_is_refused(x):
    with pytest.raises(BadData):
        as_tensor(x)


@pytest.mark.parametrize(
    ("values", "lost"),
    [
        (np.array([2**53]), False),
        (np.array([2**53 + 1]), True),
        (np.array([2**60]), False),
        (np.array([-(2**53) - 1]), True),
        (np.array([2**64 - 1], dtype=np.uint64), True),
        (np.array([2**31], dtype=np.uint32), False),
        (np.array([1.5]), False),
    ],
)
def test_whole_numbers_that_double_precision_changes_are_found(values, lost):
    assert lossy(values) == lost
