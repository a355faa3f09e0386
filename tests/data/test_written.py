"""What people write: amounts, dates in their own order, truth values, words for nothing; and how it comes back."""

import numpy as np
import pandas as pd
import pytest

import likeness as lk
from likeness.core.errors import BadData
from likeness.core.space import Nominal, Ordinal, Real, Space
from likeness.data.columns import DAYS, space_of
from likeness.data.frames import to_frame
from likeness.data.tables import encode

RNG = np.random.default_rng(0)
AMOUNTS = np.round(RNG.lognormal(9, 1, 60), 2)
DAYS_OF = pd.Series(
    pd.to_datetime("1950-01-01") + pd.to_timedelta(RNG.integers(0, 20_000, 60), unit="D")
)


def european(value):
    return f"{value:,.2f}".translate(str.maketrans(",.", ".,"))


@pytest.mark.parametrize(
    "write",
    [
        lambda v: f"{v:.2f}".replace(".", ","), european, lambda v: f"{v:,.2f}", lambda v: f"${v:,.2f}",
        lambda v: f"{v:.2f} €".replace(".", ","), lambda v: f"CHF {v:,.2f}".replace(",", "'").replace(".", ","),
        lambda v: f"{v:.2f}%", lambda v: f"-${v:.2f}",
    ],
)  # fmt: skip
def test_amounts_are_numbers_as_they_are_written(write):
    sign = -1 if write(1.5).startswith("-") else 1
    frame = pd.DataFrame({"price": [*map(write, AMOUNTS), None], "y": RNG.normal(size=61)})
    space, notes = space_of(frame)
    assert (space.names, space.variables[0].type) == (("price", "y"), "real")
    assert any("'price' is written with" in note for note in notes)
    np.testing.assert_allclose(encode(space, frame).x[:60, 0], sign * AMOUNTS, rtol=1e-12)
    one = encode(Space.from_json(space.to_json()), frame.iloc[[3]])
    assert float(one.x[0, 0]) == pytest.approx(sign * AMOUNTS[3], rel=1e-12)


def test_one_row_is_read_as_the_rows_before_it():
    frame = pd.DataFrame(
        {
            "price": ["1,5", "2,25", "1.000,5"] * 10,
            "day": ["13/01/2020", "01/02/2020", "05/07/1951"] * 10,
        }
    )
    space, _ = space_of(frame)
    batch = encode(space, pd.DataFrame({"price": ["1.234"], "day": ["05/07/1951"]}))
    assert float(batch.x[0, 0]) == 1234
    assert float(batch.x[0, 1]) == (pd.Timestamp("1951-07-05") - pd.Timestamp("1970-01-01")).days
    plain, _ = space_of(
        pd.DataFrame({"price": [1.5, 2.25], "day": pd.to_datetime(["2020-01-01", "2020-01-02"])})
    )
    with pytest.raises(BadData, match="'1,5' is not a number"):
        encode(plain, pd.DataFrame({"price": ["1,5"], "day": ["2020-01-01"]}))
    with pytest.raises(BadData, match="'05/07/1951' is not a date"):
        encode(plain, pd.DataFrame({"price": [1.5], "day": ["05/07/1951"]}))


def test_amounts_of_several_currencies_are_words():
    space, _ = space_of(pd.DataFrame({"price": ["$1", "€2", "$1", "€2"]}))
    assert space.variables == (Nominal(categories=4 // 2, labels=("$1", "€2")),)


@pytest.mark.parametrize(
    ("form", "words"),
    [("%d.%m.%Y", "day, month, year"), ("%d/%m/%Y", "day, month, year"), ("%m/%d/%Y", "month, day, year"),
     ("%Y/%m/%d", "year, month, day"), ("%d.%m.%Y %H:%M", "day, month, year"), ("%Y-%m-%d", "")],
)  # fmt: skip
def test_dates_are_read_in_the_order_that_they_show(form, words):
    frame = pd.DataFrame({"born": DAYS_OF.dt.strftime(form), "y": RNG.normal(size=60)})
    space, notes = space_of(frame)
    assert space.names == ("born", "y")
    assert space.variables[0].unit == DAYS
    assert any("holds dates" in n and words in n for n in notes)
    batch = encode(space, frame)
    assert batch.x[:, 0].tolist() == (DAYS_OF - pd.Timestamp("1970-01-01")).dt.days.tolist()
    assert to_frame(space, batch)["born"].tolist() == DAYS_OF.tolist()


def test_durations_and_periods_are_measured():
    frame = pd.DataFrame(
        {"took": pd.to_timedelta(RNG.normal(5, 1, 60), unit="D"), "in": DAYS_OF.dt.to_period("D")}
    )
    space, _ = space_of(frame)
    assert space.names == ("took", "in")
    np.testing.assert_allclose(encode(space, frame).x[:, 0], frame["took"] / pd.Timedelta(days=1))


def test_counting_columns_are_kept_and_said():
    frame = pd.DataFrame(
        {"t": np.arange(400), "year": np.arange(1600, 2000), "a": RNG.normal(size=400)}
    )
    with pytest.warns(
        UserWarning,
        match="columns 't', 'year': each counts the rows one by one: kept|column 't' counts",
    ):
        model = lk.fit("gaussian", frame)
    assert model.space.names == ("t", "year", "a")
    with pytest.warns(UserWarning, match=r"'row' looks like an identifier .*left out"):
        model = lk.fit("gaussian", frame[["a"]].assign(row=np.arange(400)))
    assert model.space.names == ("a",)
    assert any("left out" in note for note in model.facts["notes"])


def test_draws_come_back_as_the_columns_were():
    frame = pd.DataFrame({
        "flag": RNG.random(60) < 0.5, "born": DAYS_OF, "price": AMOUNTS, "at": DAYS_OF + pd.Timedelta(hours=1.5),
        "x": RNG.normal(size=60),
    })  # fmt: skip
    drawn = lk.fit("gaussian", frame[["born", "price", "at", "x"]]).sample(50, seed=0).to_pandas()
    assert (drawn["born"] == drawn["born"].dt.normalize()).all()
    assert not (drawn["at"] == drawn["at"].dt.normalize()).all()
    assert (drawn["price"].round(2) == drawn["price"]).all()
    assert not (drawn["x"].round(6) == drawn["x"]).any()
    drawn = lk.fit("independent", frame[["flag", "x"]]).sample(50, seed=0).to_pandas()
    assert drawn["flag"].dtype == bool
    model = lk.fit("gaussian", frame[["flag", "x"]], given="flag")
    assert model.sample(20, seed=0).to_pandas()["flag"].dtype == bool


def test_true_and_false_may_be_words():
    frame = pd.DataFrame({"smoker": RNG.random(60) < 0.5, "x": RNG.normal(size=60)})
    space, _ = space_of(frame)
    assert space.variables[0] == Ordinal(levels=2)
    rows = pd.DataFrame({"smoker": ["True", "false", True, 0, None], "x": 0.0})
    assert encode(space, rows).x[:, 0].tolist() == [1, 0, 1, 0, 0]
    model = lk.fit("independent", frame)
    truth = lk.query(model, "log_prob", evidence={"smoker": True}).value
    assert lk.query(model, "log_prob", evidence={"smoker": "True"}).value == truth


def test_none_is_a_category_among_words_and_a_gap_among_numbers(tmp_path):
    kinds = ("Mild", "None", "Severe")
    frame = pd.DataFrame(
        {"s": RNG.choice(kinds, 60), "x": RNG.choice(["1.5", "NA", "2.25", "none"], 60)}
    )
    frame.to_csv(tmp_path / "x.csv", index=False)
    for data in (lk.load(frame, test=0), lk.load(tmp_path / "x.csv", test=0)):
        assert data.space.variables[0] == Nominal(categories=3, labels=kinds)
        assert isinstance(data.space.variables[1], Real)
        present = data.train.batch.present
        assert bool(present[:, 0].all())
        assert present[:, 1].tolist() == frame["x"].isin(["1.5", "2.25"]).tolist()
        assert to_frame(data.space, data.train.batch)["s"].tolist() == frame["s"].tolist()
    same = lk.load(frame.assign(s=frame["s"].astype("category")), test=0)
    assert same.space.variables[0] == Nominal(categories=3, labels=kinds)


def test_time_zones_are_said():
    zoned = DAYS_OF.dt.tz_localize("Europe/Berlin")
    for column in (zoned, zoned.map(lambda t: t.isoformat(sep=" "))):
        assert any("time zone" in n for n in space_of(pd.DataFrame({"t": column}))[1])
    assert not any("time zone" in n for n in space_of(pd.DataFrame({"t": DAYS_OF}))[1])


def test_what_is_known_is_not_rounded_in_completions():
    frame = pd.DataFrame({"price": AMOUNTS, "born": DAYS_OF, "x": RNG.normal(size=60)})
    model = lk.fit("gaussian", frame)
    rows = pd.DataFrame(
        {"price": [1.23456, np.nan], "born": [pd.NaT, pd.Timestamp("1960-01-02 03:04")], "x": 0.0}
    )
    full = model.complete(rows, n=2, seed=0).to_pandas()
    assert full["price"][[0, 2]].tolist() == [1.23456] * 2
    assert full["born"][[1, 3]].tolist() == [pd.Timestamp("1960-01-02 03:04")] * 2
    assert (full["price"][[1, 3]].round(2) == full["price"][[1, 3]]).all()
    assert (full["born"][[0, 2]] == full["born"][[0, 2]].dt.normalize()).all()
