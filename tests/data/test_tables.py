"""Tables: a frame comes back as it was, each column gets its type, and each fault has its sentence."""

import datetime as dt
import time

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from likeness.api import load
from likeness.core.batch import as_batch
from likeness.core.errors import BadData
from likeness.core.space import Count, Nominal, Ordinal, Real
from likeness.data.columns import DAYS, names_of, space_of
from likeness.data.files import read_csv, read_parquet
from likeness.data.frames import to_frame
from likeness.data.tables import encode

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
WORDS = st.sampled_from(["ja", "nein", "vielleicht", "A b", "ü", "3x"])
CELLS = {
    "number": st.floats(-1e6, 1e6, allow_nan=False).map(lambda v: round(v, 3) + 0.0004),
    "whole": st.integers(-40, 40),
    "large": st.integers(-(10**9), 10**9),
    "word": WORDS,
    "date": st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2100, 1, 1)).map(
        lambda t: t.replace(microsecond=0)
    ),
    "day": st.dates(dt.date(1900, 1, 1), dt.date(2100, 1, 1)).map(
        lambda d: dt.datetime(d.year, d.month, d.day)
    ),
    "flag": st.booleans(),
}


@st.composite
def frames(draw, gaps=True):
    """Columns of every kind, with at least one value each."""
    rows = draw(st.integers(1, 12))
    columns = {}
    for kind in draw(st.lists(st.sampled_from(sorted(CELLS)), min_size=1, max_size=5)):
        values = draw(st.lists(CELLS[kind], min_size=rows, max_size=rows))
        hidden = (
            draw(st.lists(st.booleans(), min_size=rows, max_size=rows))
            if gaps and kind != "flag"
            else [False] * rows
        )
        hidden[draw(st.integers(0, rows - 1))] = False
        columns[f"{kind} {len(columns)}"] = [
            None if h else v for v, h in zip(values, hidden, strict=True)
        ]
    return pd.DataFrame(columns)


def same(back, frame):
    assert list(back.columns) == list(frame.columns)
    for name in frame:
        a, b = back[name], frame[name]
        assert (a.isna().to_numpy() == b.isna().to_numpy()).all(), name
        a, b = a[a.notna()].tolist(), b[b.notna()].tolist()
        if name.startswith(("word", "date", "day")):
            assert list(map(str, a)) == list(map(str, b)), name
        else:
            np.testing.assert_allclose(
                np.array(a, float), np.array(b, float), rtol=1e-12, err_msg=name
            )


@QUICK
@given(frames())
def test_a_frame_comes_back_as_it_was(frame):
    space, _ = space_of(frame)
    batch = encode(space, frame)
    same(to_frame(space, as_batch(space, batch)), frame)
    assert (batch.x[~batch.present] == 0).all()
    assert type(space).from_json(space.to_json()) == space


@QUICK
@given(frames(), st.sampled_from([",", ";", "\t"]))
def test_a_file_says_what_its_frame_says(tmp_path_factory, frame, mark):
    path = tmp_path_factory.mktemp("csv") / "x.csv"
    frame.to_csv(path, index=False, sep=mark)
    found = read_csv(path)
    space, _ = space_of(found)
    own, _ = space_of(frame)
    assert (space.shape, space.names) == (own.shape, own.names)
    same(to_frame(space, encode(space, found)), frame.mask(frame.isna(), None))


@QUICK
@given(frames(gaps=False), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_change_the_space(frame, random):
    order = list(range(len(frame)))
    random.shuffle(order)
    assert space_of(frame)[0] == space_of(frame.iloc[order].reset_index(drop=True))[0]


def test_parquet_keeps_a_frame(tmp_path):
    frame = pd.DataFrame(
        {
            "a": [1.5, None, 2.25],
            "word": ["x", "y", None],
            "day": pd.date_range("2020-01-01", periods=3),
        }
    )
    frame.to_parquet(tmp_path / "x.parquet")
    same(read_parquet(tmp_path / "x.parquet"), frame)
    (tmp_path / "y.parquet").write_bytes(b"")
    with pytest.raises(BadData, match=r"y\.parquet"):
        read_parquet(tmp_path / "y.parquet")


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize(
    ("column", "variable"),
    [
        ([True, False, True], Ordinal(levels=2)),
        (["0", "1", None, "1"], Ordinal(levels=2)),
        ([3, 4, 5, 3], Ordinal(levels=3, start=3)),
        (["b", "a", "b"], Nominal(categories=2, labels=("a", "b"))),
        (["a", "?", "b"], Nominal(categories=2, labels=("a", "b"))),
        (
            pd.Categorical(["lo", "hi"], categories=["lo", "mid", "hi"]),
            Nominal(categories=3, labels=("lo", "mid", "hi")),
        ),
        (["2020-01-01", "2021-05-06 07:08:09", "2021-05-06T07:08Z"], Real(unit=DAYS)),
        (pd.date_range("2020-01-01", periods=3, tz="Europe/Berlin"), Real(unit=DAYS)),
        (rng().poisson(2.0, 500), Count()),
        (np.round(rng().normal(size=500), 1), Real(resolution=0.1)),
        (rng().normal(size=500), Real()),
        (np.round(rng().normal(size=500), 3), Real()),
        (rng().integers(0, 10**6, 50) * 10, Real(resolution=10)),
    ],
)
def test_columns_get_their_types(column, variable):
    frame = pd.DataFrame({"x": column})
    assert space_of(frame)[0].variables == (variable,)


@pytest.mark.parametrize(
    ("word", "column", "variable"),
    [
        ("nominal", [3, 1, 2, 10], Nominal(categories=4, labels=("1", "2", "3", "10"))),
        ("ordinal", [3.0, 4.0, 9.0], Ordinal(levels=7, start=3)),
        ("count", [0, 1], Count()),
        ("real", [1, 2, 2], Real()),
        ("date", ["2020-01-01", "2020-01-02"], Real(unit=DAYS)),
        (Real(resolution=0.5), [0.5, 1.0], Real(resolution=0.5)),
    ],
)
def test_what_the_user_says_wins(word, column, variable):
    frame = pd.DataFrame({"x": column, "y": np.arange(len(column)) + 0.5})
    space, _ = space_of(frame, columns={"x": word, "y": "skip"})
    assert (space.variables, space.names) == ((variable,), ("x",))
    encode(space, frame)


def test_days_count_from_1970():
    frame = pd.DataFrame({"x": ["1970-01-02", "1969-12-31 12:00", None]})
    space, notes = space_of(frame)
    assert encode(space, frame).x[:, 0].tolist() == [1.0, -0.5, 0.0]
    assert any("dates" in n for n in notes)
    with pytest.raises(BadData, match=r"'today' is not a date .row 0"):
        encode(space, pd.DataFrame({"x": ["today"]}))


@pytest.mark.parametrize(
    ("name", "column", "reason"),
    [
        ("PassengerId", np.arange(1, 41), "the row's number"),
        ("customer_id", rng().permutation(10**4)[:40], "40 distinct numbers"),
        ("who", [f"person {i}" for i in range(40)], "40 distinct texts"),
    ],
)
def test_identifiers_are_pointed_out_and_left_out(name, column, reason):
    frame = pd.DataFrame({name: column, "y": rng().normal(size=40)})
    space, notes = space_of(frame)
    assert space.names == ("y",)
    assert any(repr(name) in n and "identifier" in n and reason in n for n in notes)
    kept, notes = space_of(frame, columns={name: "nominal"})
    assert kept.names == (name, "y")
    assert as_batch(space, frame).x.shape == (40, 1)


@pytest.mark.parametrize(
    "column", [rng().permutation(40), rng().normal(size=40), pd.date_range("2020", periods=40)]
)
def test_what_is_measured_is_no_identifier(column):
    assert space_of(pd.DataFrame({"size": column, "y": rng(1).normal(size=40)}))[0].names == (
        "size",
        "y",
    )


def test_notes_say_what_was_seen():
    frame = pd.DataFrame({
        "k": [5] * 200, "c": [1.5] * 200, "w": ["a"] * 200, "gap": [None, 1.25] * 100,
        "many": [f"w{i % 70}" for i in range(200)], "r": np.round(rng().normal(size=200), 2),
        "zero": np.where(np.arange(200) % 2, rng().normal(size=200), 0.0),
    })  # fmt: skip
    notes = "\n".join(space_of(frame)[1])
    for said in (
        "'k' is constant (5)", "'c', 'gap': each is constant: a density is unbounded on repeated values",
        "'w' is constant ('a')",
        "'gap' lacks 100 of 200 values", "'many' has 70 categories: high cardinality",
        "'r' is rounded to 0.01: a density is unbounded on repeated values", "'zero' is 0 in 50% of the rows",
    ):  # fmt: skip
        assert said in notes


FRAME = pd.DataFrame(
    {"size": [1.25, 2.5, 2.0, 0.5], "kind": ["rose", "tulip", "rose", "daisy"], "n": [3, 4, 5, 3]}
)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"kind": ["rose", "tulpi", "rose", "rose"]},
            r"'tulpi' .*row 1, column 'kind'.*did you mean 'tulip'",
        ),
        ({"kind": ["rose", "xyzzy", "rose", "rose"]}, r"there are 'daisy', 'rose', 'tulip'"),
        ({"size": ["1", "two", "3", "4"]}, r"'two' is not a number .row 1, column 'size'"),
        ({"size": [1.0, 2.0, np.inf, 0.0]}, r"inf is not a finite number .row 2, column 'size'"),
        ({"n": [3, 4, 6, 3]}, r"6 is not one of the levels 3..5 .row 2, column 'n'"),
        ({"n": [3, 4, 4.5, 3]}, r"4.5 is not one of the levels"),
    ],
)
def test_rows_outside_the_space_are_named(change, said):
    space, _ = space_of(FRAME)
    with pytest.raises(BadData, match=said):
        as_batch(space, FRAME.assign(**change))


def test_missing_columns_are_named():
    space, _ = space_of(FRAME)
    with pytest.raises(BadData, match=r"no column 'size'; did you mean 'sizes'"):
        as_batch(space, FRAME.rename(columns={"size": "sizes"}))
    with pytest.raises(BadData, match="two columns are called 'kind'"):
        as_batch(space, FRAME.set_axis(["kind", "kind", "n"], axis=1))


def test_rows_come_as_frames_dicts_lists_and_series():
    space, _ = space_of(FRAME)
    whole = as_batch(space, FRAME)
    forms = [
        (FRAME[["n", "kind", "size"]], slice(None)), (FRAME.to_dict("list"), slice(None)),
        (FRAME.to_dict("records"), slice(None)), (FRAME.iloc[1], slice(1, 2)), (FRAME.iloc[2].to_dict(), slice(2, 3)),
    ]  # fmt: skip
    for form, rows in forms:
        torch.testing.assert_close(as_batch(space, form).x, whole.x[rows])
    assert as_batch(space, {"size": 1.0, "kind": None, "n": 4}).present.tolist() == [
        [True, False, True]
    ]


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty"),
        (b"\n \n", "the file is empty"),
        ("a,b\n", "no rows"),
        ("a,b\n1,2\n", "one row alone"),
        ("a,a\n1,2\n3,4\n", "two columns are called 'a'"),
        (b"a,b\nM\xfcller,2\nx,3\n", "byte 5 is not UTF-8"),
        ("a,b\n1,2\n3,4,5\n", "line 3 has 3 cells where 2 are expected"),
        ("a,b\n1,\n3,\n", "column 'b' holds nothing but missing values"),
        ("a,b\n1.5,2\ninf,3\n2.5,3\n", r"an infinite value .*data row 2, column 'a'"),
        (
            "a,b\n" + "1.5,2\n" * 9 + "abc,3\n",
            r"'abc' is not a number .*data row 10, column 'a'.*'nominal'",
        ),
    ],
)
def test_each_fault_of_a_file_has_its_sentence(tmp_path, content, said):
    path = write(tmp_path / "flowers.csv", content)
    with pytest.raises(BadData, match=said) as caught:
        load(path)
    assert "flowers" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "names", "x"),
    [
        ("1,0\n2,1\n", ("column 0", "column 1"), [[1, 0], [2, 1]]),
        ("1.5 2\n 3.5   4\n", ("column 0", "column 1"), [[1.5, 2], [3.5, 4]]),
        ("a;b\n1;2\n3;4\n", ("a", "b"), [[1, 2], [3, 4]]),
        ("\ufeffa\tb\n1\t2\n3\t4\n", ("a", "b"), [[1, 2], [3, 4]]),
        ("x\n1\n2\n", ("x",), [[1], [2]]),
        ("a,b\r1,2\r3,4\r", ("a", "b"), [[1, 2], [3, 4]]),
    ],
)
def test_marks_and_names_are_found(tmp_path, content, names, x):
    frame = read_csv(write(tmp_path / "x.csv", content))
    assert tuple(frame.columns) == names
    assert frame.astype(float).to_numpy().tolist() == x


def test_a_file_of_the_same_columns_is_read_into_the_space(tmp_path):
    space, _ = space_of(FRAME)
    FRAME.to_csv(tmp_path / "x.csv", index=False)
    torch.testing.assert_close(as_batch(space, tmp_path / "x.csv").x, as_batch(space, FRAME).x)
    FRAME.assign(kind="oak").to_csv(tmp_path / "y.csv", index=False)
    with pytest.raises(BadData, match=r"y.csv, data row 1, column 'kind'"):
        as_batch(space, str(tmp_path / "y.csv"))


def test_given_columns_leave_the_space(tmp_path):
    data = load(FRAME, given="kind", test=0)
    assert (data.space.names, data.given_space.names, data.given_space.label) == (
        ("size", "n"),
        ("kind",),
        3,
    )
    assert data.train.batch.given.x[:, 0].tolist() == [1, 2, 1, 0]
    data = load(FRAME, given=["kind", "n"], test=0)
    assert (data.space.names, data.given_space.names) == (("size",), ("kind", "n"))
    with pytest.raises(BadData, match="no column 'kin'; did you mean 'kind'"):
        load(FRAME, given="kin")
    with pytest.raises(BadData, match="every column is given"):
        load(FRAME, given=["size", "kind", "n"])


def test_one_binary_column_given_is_a_label():
    data = load(pd.DataFrame({"x": [1.5, 2.5, 3.25], "ill": [0, 1, 1]}), given="ill", test=0)
    assert data.given_space.variables == (Nominal(categories=2, labels=("0", "1")),)
    data = load(
        pd.DataFrame({"x": [1.5, 2.5, 3.25], "ill": [False, True, True]}), given="ill", test=0
    )
    assert data.given_space.variables == (Nominal(categories=2, labels=("False", "True")),)
    assert as_batch(data.given_space, "True").x.tolist() == [[1.0]]


def test_lists_in_cells_are_refused():
    with pytest.raises(BadData, match=r"a cell holds a list .*row 1, column 'x'"):
        load({"x": ["a", [1, 2], "b"], "y": [1, 2, 3]})


def test_the_time_for_names_grows_with_the_columns_and_not_with_their_square():
    names = [f"gene {i}" for i in range(20_000)]
    frame = pd.DataFrame(np.zeros((1, 20_000)), columns=names)
    start = time.process_time()
    assert names_of(frame) == names
    assert time.process_time() - start < 1


@pytest.mark.parametrize(
    "column",
    [np.array([1 + 1j, 2, 3, 4]), np.array([1.0, 2 + 0j, None, 3.0], dtype=object)],
    ids=["complex", "objects"],
)
def test_complex_columns_are_refused_at_fit_and_when_asked(column):
    frame = pd.DataFrame({"x": column, "y": [0.5, 1.5, 2.5, 4.0]})
    with pytest.raises(BadData, match=r"column 'x'.*complex numbers|complex numbers.*column 'x'"):
        load(frame)
    plain = load(frame.assign(x=[1.0, 2.5, 3.0, 4.0]), test=0.0)
    with pytest.raises(BadData, match="complex"):
        as_batch(plain.space, frame)


def test_ids_that_pandas_made_floats_for_a_hole_are_not_rounded_in_silence():
    ids = [None, *(2**53 + 1 + 2 * (i % 7) for i in range(30))]
    said = load({"a": ids, "b": [0.5 * i for i in range(31)]}).notes
    assert any("last digits may be lost" in note for note in said)


def test_labels_of_bytes_are_the_words_that_they_spell():
    for labels in (np.array([b"x", b"y"] * 15), [b"x", b"y"] * 15):
        space = load({"a": labels, "b": [0.5 * i for i in range(30)]}).train.space
        assert space.columns[0].labels == ("x", "y")
