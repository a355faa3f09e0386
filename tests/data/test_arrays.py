"""Arrays: what is read is what was written, lies in its Space, and is typed by rules that rows' order cannot move."""

import gzip
import struct

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes
from hypothesis.extra.numpy import arrays as np_arrays

from likeness.core.batch import as_batch
from likeness.core.errors import BadData
from likeness.core.space import Count, Nominal, Ordinal, Real
from likeness.data import arrayfiles
from likeness.data.arrays import real, step, whole
from likeness.data.labels import labels
from likeness.data.spaces import infer, ragged

QUICK = settings(max_examples=60, deadline=None)
IDX = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}
FINITE = st.floats(-1e6, 1e6, allow_nan=False, width=32)


def idx_bytes(x):
    head = bytes([0, 0, IDX[x.dtype.str[1:]], x.ndim]) + struct.pack(f">{x.ndim}I", *x.shape)
    return head + x.astype(x.dtype.newbyteorder(">")).tobytes()


@QUICK
@given(
    st.sampled_from(sorted(IDX)).flatmap(lambda t: np_arrays(t, array_shapes(max_dims=3))),
    st.booleans(),
)
def test_idx_files_give_back_what_they_hold(tmp_path_factory, x, zipped):
    path = tmp_path_factory.mktemp("idx") / ("x.idx.gz" if zipped else "x.idx")
    path.write_bytes(gzip.compress(idx_bytes(x)) if zipped else idx_bytes(x))
    np.testing.assert_array_equal(arrayfiles.read_idx(path), x)


@pytest.mark.parametrize(
    "spoil", [lambda b: b[:-1], lambda b: b"", lambda b: b"\1" + b[1:], lambda b: b + b"\0"]
)
def test_broken_idx_files_are_named(tmp_path, spoil):
    path = tmp_path / "t10k-images-idx3-ubyte"
    path.write_bytes(spoil(idx_bytes(np.zeros((2, 3, 3), np.uint8))))
    with pytest.raises(BadData, match="t10k-images"):
        arrayfiles.read_idx(path)


def test_truncated_gzip_is_named(tmp_path):
    path = tmp_path / "x.idx.gz"
    path.write_bytes(gzip.compress(idx_bytes(np.arange(99, dtype=np.uint8)))[:-9])
    with pytest.raises(BadData, match="cut short"):
        arrayfiles.read_idx(path)


@QUICK
@given(
    st.sampled_from([0.1, 0.25, 0.05, 0.5, 1.0, 2.0, 10.0, 0.001]),
    st.integers(-50, 50),
    st.lists(st.integers(0, 400), min_size=1, max_size=30),
)
def test_the_width_of_a_rounding_is_found(width, start, steps):
    values = (start + np.array([*steps, 0, 1] * 2)) * width
    assert step(values) == pytest.approx(width, rel=1e-6)


@QUICK
@given(st.floats(0.01, 3), st.floats(-5, 5), st.lists(st.integers(0, 99), min_size=1, max_size=30))
def test_a_rounding_that_is_no_decimal_is_found_too(width, start, steps):
    values = start + np.array([*steps, 0, 1] * 2) * width
    assert step(values) == pytest.approx(width, rel=1e-3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_was_never_rounded_shows_no_rounding(dtype):
    values = np.random.default_rng(0).normal(size=2000).astype(dtype).astype(np.float64)
    assert step(values) is None
    assert step(np.concatenate([values, values])) is None


def test_roundings_through_float32_are_found():
    values = (
        np.round(np.random.default_rng(1).normal(size=500), 1).astype(np.float32).astype(np.float64)
    )
    assert step(values) == pytest.approx(0.1)


@pytest.mark.parametrize(("sd", "coarse"), [(0.19, True), (0.21, False)])
def test_a_rounding_is_coarse_from_a_twentieth_of_the_deviation(sd, coarse):
    normal = np.random.default_rng(2).normal(size=4000)
    values = np.round(normal / normal.std() * sd, 2)
    found = real(values, rounding="bins")
    assert (found.variable == Real(resolution=0.01)) == coarse
    assert real(values, rounding="note").variable == Real()
    assert any("unbounded on repeated values" in n for n in real(values, rounding="note").notes)


def test_a_repeated_value_is_noted():
    values = np.concatenate([np.zeros(50), np.random.default_rng(3).normal(size=950)])
    assert real(values, rounding="bins").notes == (
        "is 0 in 5% of the rows: a density is unbounded on repeated values",
    )


@pytest.mark.parametrize(
    ("values", "variable"),
    [
        ([0, 1, 1, 0], Ordinal(levels=2)),
        ([3, 4, 8, 5], Ordinal(levels=6, start=3)),
        ([-2, 0, 2], Ordinal(levels=5, start=-2)),
        ([7, 7, 7], Ordinal(levels=1, start=7)),
        (np.random.default_rng(0).poisson(1.0, 2000), Count()),
        (np.random.default_rng(0).poisson(20.0, 2000), Count()),
        (np.random.default_rng(0).integers(17, 91, 2000), Real(resolution=1)),
        (np.arange(100) * 500, Real(resolution=500)),
        (np.random.default_rng(0).integers(0, 5, 2000), Ordinal(levels=5)),
    ],
)
def test_whole_numbers_are_typed_by_the_rules(values, variable):
    values = np.repeat(np.asarray(values, dtype=float), 2)
    assert whole(values, rounding="bins").variable == variable


@QUICK
@given(
    st.one_of(
        np_arrays(np.float64, array_shapes(min_dims=1, max_dims=4), elements=FINITE),
        np_arrays(np.int64, array_shapes(min_dims=1, max_dims=4), elements=st.integers(-1, 40)),
        np_arrays(np.int32, array_shapes(min_dims=2, max_dims=2), elements=st.integers(-300, 300)),
        np_arrays(np.uint8, array_shapes(min_dims=2, max_dims=4)),
        np_arrays(np.bool_, array_shapes(min_dims=1, max_dims=3)),
    ),
    st.randoms(use_true_random=False),
)
def test_every_array_lies_in_its_space_and_order_does_not_matter(x, random):
    try:
        space, laid, _ = infer(x)
    except BadData as error:
        assert "missing" in str(error)
        return
    batch = as_batch(space, laid)
    assert len(batch) == len(x)
    assert space.layout == tuple(laid.shape[1:])
    known, start = (
        batch.present.numpy(),
        next((v.start for v in space.variables if v.type == "ordinal"), 0),
    )
    np.testing.assert_array_equal(
        batch.x.double().numpy()[known] + start, laid.astype(np.float64)[known]
    )
    order = list(range(len(x)))
    random.shuffle(order)
    assert infer(x[order])[0] == space


def test_missing_reals_are_hidden_and_missing_codes_too():
    space, x, _ = infer(np.array([[1.0, np.nan], [2.5, 0.5]]))
    assert as_batch(space, x).present.tolist() == [[True, False], [True, True]]
    space, x, notes = infer(np.array([[0, -1], [1, 2]]))
    assert as_batch(space, x).present.tolist() == [[True, False], [True, True]]
    assert notes == ("-1 is read as missing",)


def test_images_may_have_channels_first_or_last():
    first = np.random.default_rng(0).integers(0, 256, (5, 3, 8, 9), dtype=np.uint8)
    (a, x, _), (b, y, _) = infer(first), infer(np.moveaxis(first, 1, -1))
    assert a == b
    assert a.axes == ("channel", "height", "width")
    assert a.variables == (Ordinal(levels=256),)
    np.testing.assert_array_equal(x, y)


def test_what_the_user_says_wins():
    x = np.array([[0, 1.5], [2, 0.5], [1, 1.0]])
    assert infer(x, columns={0: "nominal"})[0].variables == (Nominal(categories=3), Real())
    assert infer(x[:, :1].astype(int), columns="nominal")[0].variables == (Nominal(categories=3),)
    assert infer(x, columns=Real(resolution=0.5))[0].variables == (Real(resolution=0.5),)
    with pytest.raises(BadData, match="no column 7"):
        infer(x, columns={7: "real"})
    with pytest.raises(BadData, match="not whole numbers"):
        infer(x, columns={1: "count"})
    with pytest.raises(BadData, match="no type"):
        infer(x, columns="text")


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (np.zeros((0, 3)), "empty"),
        (np.array(3.0), "a number alone"),
        (np.array([[1.0, np.nan], [2.0, np.nan]]), "nothing but missing values .column 1"),
        (np.array(["a", "b"]), "holds no numbers"),
    ],
)
def test_arrays_that_hold_nothing_are_refused(x, said):
    with pytest.raises(BadData, match=said):
        infer(x)


@QUICK
@given(st.lists(st.one_of(st.integers(-3, 12), st.sampled_from("abc")), min_size=1, max_size=30).filter(
    lambda v: len({type(i) for i in v}) == 1
))  # fmt: skip
def test_labels_name_their_codes(values):
    space, batch = labels(np.array(values))
    names = space.variables[0].labels
    assert [names[int(c)] for c in batch.x[:, 0]] == [str(v) for v in values]
    assert space.label == len(names)


def test_too_many_classes_are_no_label():
    with pytest.raises(BadData, match="too many"):
        labels(np.arange(1000))


def test_ragged_items_keep_their_lengths():
    space, batch = ragged([[0, 3, 1], [2], [1, 1]])
    assert (space.longest, space.variables[0]) == (3, Nominal(categories=4))
    assert batch.length.tolist() == [3, 1, 2]
    space, batch = ragged([np.ones((2, 3)), np.ones((5, 3))])
    assert space.shape == (None, 3)
    assert batch.within.sum().item() == 21
    with pytest.raises(BadData, match="item 1"):
        ragged([np.ones((2, 3)), np.ones((2, 4))])


def test_numpy_files(tmp_path):
    x = np.random.default_rng(0).normal(size=(6, 2))
    np.save(tmp_path / "x.npy", x)
    np.testing.assert_array_equal(arrayfiles.read_npy(tmp_path / "x.npy"), x)
    np.savez(tmp_path / "x.npz", X=x, y=np.array([0, 1, 1, 0, 1, 1]))
    reading = arrayfiles.from_npz(tmp_path / "x.npz", None, "note", None, "x")
    assert reading.aside == "y"
    torch.testing.assert_close(reading.parts["all"].batch.x, torch.from_numpy(x))


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"not numpy", b"PK\3\4 no zip"])
@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_broken_numpy_files_are_named(tmp_path, suffix, content):
    path = tmp_path / f"x.{suffix}"
    path.write_bytes(content)
    with pytest.raises(BadData, match=f"x.{suffix}"):
        arrayfiles.read_npy(path) if suffix == "npy" else arrayfiles.read_npz(path)


def test_objects_are_not_read(tmp_path):
    np.save(tmp_path / "x.npy", np.array([{}, []], dtype=object), allow_pickle=True)
    with pytest.raises(BadData, match="not read"):
        arrayfiles.read_npy(tmp_path / "x.npy")
    np.savez(tmp_path / "x.npz", a=np.ones(2), b=np.ones(2))
    with pytest.raises(BadData, match="which array holds the items: a, b"):
        arrayfiles.from_npz(tmp_path / "x.npz", None, "note", None, "x")
