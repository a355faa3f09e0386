"""What holds numbers is read by its type: masks, objects, records, sparse and Arrow's, as their plain twins are."""

import decimal
import fractions
import warnings

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse
import torch

import likeness as lk
from likeness.core.batch import as_batch
from likeness.core.errors import BadData
from likeness.core.space import Nominal, Ordinal, Real

RNG = np.random.default_rng(0)
WHOLE = RNG.integers(0, 5, (60, 2))
REALS = RNG.normal(size=(60, 2))
DAYS = ("2020-01-01", "2020-03-05")
MASK = RNG.random((60, 2)) < 0.2


def read(x, **how):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return lk.load(x, test=0.0, **how)


def same(a, b):
    """Whether two readings have one Space and one set of rows."""
    (left, right) = (a.train.batch, b.train.batch)
    assert a.space.variables == b.space.variables
    assert a.space.shape == b.space.shape
    assert torch.equal(left.present, right.present)
    assert torch.equal(left.x.double(), right.x.double())


def hidden(x, mask=MASK):
    return np.where(mask, None, x.astype(object))


@pytest.mark.parametrize(
    ("odd", "plain"),
    [
        (np.ma.masked_array(np.where(MASK, 1e6, REALS), MASK), np.where(MASK, np.nan, REALS)),
        (np.ma.masked_array(np.where(MASK, 99, WHOLE), MASK), np.where(MASK, -1, WHOLE)),
        (np.ma.masked_array(WHOLE.astype(np.uint8), MASK), np.where(MASK, -1, WHOLE)),
        (list(np.ma.masked_array(REALS, MASK)), np.where(MASK, np.nan, REALS)),
        (hidden(WHOLE), np.where(MASK, -1, WHOLE)),
        (hidden(REALS), np.where(MASK, np.nan, REALS)),
        (hidden(WHOLE).tolist(), np.where(MASK, -1, WHOLE)),
        (np.vectorize(decimal.Decimal, otypes=[object])(REALS), REALS),
        ([fractions.Fraction(k, 3) for k in range(30)], np.arange(30) / 3),
        (WHOLE.astype(object), WHOLE),
        (WHOLE.astype(">i4"), WHOLE),
        (WHOLE.astype(np.uint64), WHOLE),
        (WHOLE[::-1], WHOLE[::-1].copy()),
        (REALS.astype(np.longdouble), REALS),
        (scipy.sparse.csr_matrix(WHOLE), WHOLE),
        (scipy.sparse.coo_array(WHOLE), WHOLE),
        (torch.tensor(WHOLE).to_sparse(), WHOLE),
        (torch.tensor(REALS).bfloat16(), torch.tensor(REALS).bfloat16().float()),
        (pa.array(REALS[:, 0]), REALS[:, 0]),
        ([torch.tensor(row) for row in WHOLE], WHOLE),
    ],
)
def test_arrays_are_read_as_their_plain_twins(odd, plain):
    same(read(odd), read(plain))


@pytest.mark.parametrize(
    ("odd", "plain"),
    [
        (pa.table({"a": REALS[:, 0], "b": WHOLE[:, 0]}), {"a": REALS[:, 0], "b": WHOLE[:, 0]}),
        (np.rec.fromarrays([REALS[:, 0], WHOLE[:, 0]], names="a,b"), {"a": REALS[:, 0], "b": WHOLE[:, 0]}),
        (pd.array([1, 2, None] * 20), {"x": pd.Series([1, 2, None] * 20)}),
        (pd.Categorical(["u", "v"] * 20), {"x": ["u", "v"] * 20}),
        (pd.period_range("2020", periods=40, freq="M"), {"x": pd.date_range("2020", periods=40, freq="MS")}),
        (np.array([*DAYS, "NaT"] * 9, "M8[D]"), {"x0": pd.to_datetime([*DAYS, None] * 9)}),
    ],
)  # fmt: skip
def test_tables_are_read_as_their_plain_twins(odd, plain):
    same(read(odd), read(pd.DataFrame(plain)))


def test_masks_hold_when_a_model_is_asked():
    holed = np.where(MASK, np.nan, REALS)
    masked = np.ma.masked_array(np.where(MASK, 1e6, REALS), MASK)
    model = lk.fit("gaussian", masked, holdout=0.0)
    want = lk.fit("gaussian", holed, holdout=0.0).log_prob(holed).value
    assert torch.equal(model.log_prob(masked).value, want)
    assert torch.equal(model.log_prob(holed).value, want)


@pytest.mark.parametrize("dtype", ["i4", "u4", "i8", "u8", ">i8", object])
def test_large_whole_numbers_of_any_type_have_the_same_probability(dtype):
    x = 1_000_000_000 + RNG.integers(0, 40, (200, 2))
    model = lk.fit("gaussian", x.astype(dtype), holdout=0.0)
    want = lk.fit("gaussian", x, holdout=0.0).log_prob(x[:9], seed=0).value
    for same_numbers in (x[:9], x[:9].astype(dtype), torch.tensor(x[:9])):
        assert torch.equal(model.log_prob(same_numbers, seed=0).value, want)


def test_digits_beyond_those_of_doubles_are_not_lost_in_silence():
    x = 2**60 + np.arange(40).reshape(20, 2)
    assert any("above 2^53" in note for note in read(x).notes)
    with pytest.warns(UserWarning, match=r"above 2\^53"):
        lk.fit("gaussian", x, holdout=0.0)
    assert read(x * 1024).notes == ()
    with pytest.raises(BadData, match="1180591620717411303425 has more digits"):
        read([2**70 + 1, 2**70])


@pytest.mark.parametrize(
    "x",
    [{1.0, 2.0}, (row for row in REALS), object(), len, 3.5, [None, None], np.array(["a", "b"])],
)
def test_what_is_no_array_is_refused(x):
    with pytest.raises(BadData, match=r"not an array|no array|holds no numbers"):
        read(x)


def test_complex_numbers_are_refused_when_asked_too():
    model = lk.fit("gaussian", REALS, holdout=0.0)
    for z in (REALS + 1j, torch.tensor(REALS) + 1j, (REALS + 1j).tolist()):
        for ask in (read, model.log_prob, lambda z: lk.fit("gaussian", z)):
            with pytest.raises(BadData, match="complex numbers"):
                ask(z)


# ---- what was declared, and how items lie ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "variable"),
    [
        ("binary", Ordinal(levels=2)),
        ("ordinal", Ordinal(levels=2)),
        ("nominal", Nominal(categories=2)),
        (lk.Ordinal(levels=4), Ordinal(levels=4)),
    ],
)
def test_what_is_declared_of_columns_of_zeros_holds(wanted, variable):
    x = np.zeros((40, 3), dtype=int)
    x[:, 1] = RNG.integers(0, 2, 40)
    assert read(x[:, :1], columns=wanted).space.variables == (variable,)
    space = read(x, columns={0: wanted}).space
    assert space.variables[0] == variable
    model = lk.fit("independent", lk.load(x, columns={0: wanted, 2: wanted}), holdout=0.0)
    assert torch.isfinite(model.log_prob([[1, 0, 1]]).value).all()


def test_declared_types_hold_for_items_of_unlike_lengths():
    items = [np.array([0, 1, 0]), np.array([1, 1])]
    assert read(items, columns="binary").space.variables == (Ordinal(levels=2),)
    assert read(items, columns=lk.Nominal(categories=5)).space.variables == (Nominal(categories=5),)
    with pytest.raises(BadData, match="no columns"):
        read(items, columns={0: "binary"})


def test_grey_images_are_asked_about_as_they_were_learned():
    x = (RNG.random((40, 4, 5)) < 0.3).astype(np.uint8)
    model = lk.fit("independent", x, holdout=0.0)
    want = model.log_prob(x[:, None]).value
    assert torch.equal(model.log_prob(x).value, want)
    assert torch.equal(model.log_prob(x[3]).value, want[3:4])
    assert torch.equal(model.log_prob(x[..., None]).value, want)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 6])
def test_channels_last_are_moved_and_said(count):
    first = RNG.integers(0, 256, (5, count, 17, 23)).astype(np.uint8)
    data = read(np.moveaxis(first, 1, -1))
    assert data.space.shape == (count, 17, 23)
    assert torch.equal(data.train.batch.x, torch.from_numpy(first).float())
    assert any(f"{count} channels, which come last" in note for note in data.notes)
    assert read(first).space.shape == (count, 17, 23)


def test_one_image_with_its_channels_last_is_told_from_grey_images():
    with pytest.warns(UserWarning, match=r"read as 17 grey images of 23 x 3"):
        lk.fit("independent", RNG.integers(0, 256, (17, 23, 3)).astype(np.uint8))


@pytest.mark.parametrize("scale", [lambda k: k / 255, lambda k: k / 127.5 - 1])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_float_pixels_of_256_levels_stand_for_their_bins(scale, dtype):
    levels = RNG.integers(0, 256, (50, 1, 4, 4))
    levels.flat[:2] = (0, 255)
    x = scale(levels).astype(dtype)
    data = read(x)
    (variable,) = data.space.variables
    assert variable.resolution == pytest.approx(np.ptp(scale(np.array([0, 1]))), rel=1e-5)
    assert any("a value stands for its bin" in note for note in data.notes)
    bits = lk.fit("independent", x, holdout=0.0, seed=0).log_prob(x).bits_per_dim
    whole = (
        lk.fit("independent", levels.astype(np.uint8), holdout=0.0).log_prob(levels).bits_per_dim
    )
    assert float(bits.mean()) > float(whole.mean()) - 1


def test_float_pixels_that_are_whole_are_levels():
    x = RNG.integers(0, 256, (50, 1, 4, 4))
    for same_pixels in (x, x.astype(float), torch.tensor(x)):
        assert read(same_pixels).space.variables == (Ordinal(levels=256),)
    assert read(RNG.normal(size=(50, 1, 4, 4))).space.variables == (Real(),)


def test_series_of_one_length_may_be_lines_or_columns():
    lines = [RNG.normal(size=n) for n in (5, 9, 7)]
    model = lk.fit("hmm", lines, states=2, budget="3 steps")
    tall = [line[:, None] for line in lines]
    assert torch.equal(model.log_prob(lines).value, model.log_prob(tall).value)
    assert torch.equal(model.log_prob(lines[0]).value, model.log_prob(tall[:1]).value)
    assert model.forecast(lines, 2, n=3, seed=0).x.shape == (3, 3, 2, 1)
    assert any("series are (T, 1)" in note for note in read([line[:5] for line in lines]).notes)


def test_a_step_that_is_missing_everywhere_is_no_reason_to_refuse_series():
    x = RNG.normal(size=(6, 8, 2))
    x[:, 3, 1] = np.nan
    data = read(list(x))
    assert data.space.shape == (None, 2)
    assert int(data.train.batch.holes.sum()) == 6
    x[:, :, 1] = np.nan
    with pytest.raises(BadData, match=r"nothing but missing values \(channel 1"):
        read(list(x))


# ---- asked otherwise than fitted ------------------------------------------------------------------------------------


def test_a_frame_of_more_columns_is_no_array_of_fewer():
    model = lk.fit("gaussian", REALS, holdout=0.0)
    frame = pd.DataFrame({"a": REALS[:, 0], "b": REALS[:, 1]})
    want = model.log_prob(REALS).value
    assert torch.equal(model.log_prob(frame).value, want)
    assert torch.equal(
        model.log_prob(frame.set_axis(["x0", "x1"], axis=1).assign(c=1.0)).value, want
    )
    turned = frame.set_axis(["x1", "x0"], axis=1)
    assert torch.equal(model.log_prob(turned).value, model.log_prob(REALS[:, ::-1]).value)
    with pytest.raises(BadData, match="3 columns where 2 are expected"):
        model.log_prob(frame.assign(c=1.0))


def test_columns_of_a_frame_are_found_by_name_in_any_order():
    frame = pd.DataFrame(
        {"n": WHOLE[:, 0], "x": REALS[:, 0], "k": np.where(WHOLE[:, 1] > 2, "u", "v")}
    )
    model = lk.fit("independent", frame, holdout=0.0)
    want = model.log_prob(frame).value
    others = (
        frame[["k", "n", "x"]].assign(more=1),
        frame.astype({"n": float, "k": "category"}),
        frame.convert_dtypes(),
        frame.convert_dtypes(dtype_backend="pyarrow"),
        pa.Table.from_pandas(frame),
        frame.to_dict("records"),
        frame.to_dict("list"),
        frame.to_numpy(),
        frame.to_numpy().tolist(),
        frame.to_records(index=False),
    )
    for other in others:
        assert torch.equal(model.log_prob(other).value, want)
    for wrong, said in (
        (frame.drop(columns="x"), "no column 'x'"),
        (frame.assign(n=frame.n + 0.5), "is not one of the levels"),
        (frame.assign(k=0), "'0'"),
        (frame.assign(x="a"), "'a' is not a number"),
    ):
        with pytest.raises(BadData, match=said):
            model.log_prob(wrong)


@pytest.mark.parametrize("lengths", [(5, 7, 6), (6, 6, 6)])
def test_frames_in_a_list_are_matched_by_the_names_of_their_columns(lengths):
    """Of one length or of several; at fit, and when a model is asked."""
    rng = np.random.default_rng(0)
    frames = [pd.DataFrame(rng.normal(size=(n, 2)), columns=["a", "b"]) for n in lengths]
    turned = [frame[["b", "a"]] if i % 2 else frame for i, frame in enumerate(frames)]
    straight = lk.load(frames, test=0.0)
    mixed = lk.load(turned, test=0.0)
    assert mixed.space == straight.space
    assert mixed.space.names == ("a", "b")
    assert mixed.train.batch.x.equal(straight.train.batch.x)
    asked = as_batch(straight.space, [frame[["b", "a"]] for frame in frames])
    assert asked.x.equal(straight.train.batch.x.to(asked.x.dtype))
    with pytest.raises(BadData, match=r"columns a, c where a, b are expected \(frame 1\)"):
        lk.load([frames[0], frames[1].rename(columns={"b": "c"})])
