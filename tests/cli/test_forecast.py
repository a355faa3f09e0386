"""Series on the command line: read by their columns, told ahead in their own units, refused in one sentence."""

import io
import re

import numpy as np
import pandas as pd
import pytest
import torch

import likeness as lk
from likeness.cli.forecast import _rounded

STEPS = 30


@pytest.fixture(scope="module")
def weather(cli, tmp_path_factory):
    """Hourly series of two stations, out of order, with a number, a count and a word; and a model of them."""
    folder = tmp_path_factory.mktemp("weather")
    rng, parts = np.random.default_rng(0), []
    for name, start in (("south", "2024-03-01"), ("north", "2024-05-01"), ("east", "2024-07-01")):
        wet = np.sin(np.arange(STEPS) / 3 + len(name)) > 0
        parts.append(pd.DataFrame({
            "station": name, "when": pd.date_range(start, periods=STEPS, freq="h"),
            "temp": np.where(wet, 900.0, 1000.0) + rng.normal(size=STEPS), "birds": rng.poisson(3 + 40 * wet),
            "sky": np.where(wet, "rain", "sun"),
        }))  # fmt: skip
    pd.concat(parts).sample(frac=1, random_state=0).to_csv(folder / "weather.csv", index=False)
    said = cli(
        f"fit {folder}/weather.csv hmm states=2 --series station --columns birds=count --holdout 0 "
        f"--budget '15 steps' --out {folder}/run"
    )
    assert said.code == 0, said.err
    return folder, said


def ahead(cli, folder, *words: str) -> pd.DataFrame:
    said = cli(
        f"forecast {folder}/run {folder}/weather.csv --seed 3 --out {folder}/out.csv {' '.join(words)}"
    )
    assert said.code == 0, said.err
    return pd.read_csv(folder / "out.csv", parse_dates=["when"])


def test_fitting_names_the_columns_and_what_comes_next(weather):
    _, said = weather
    assert "3 rows, series of 3 columns, up to 30 steps long" in said.out
    assert re.search(r"birds +counts", said.out)
    assert "likeness forecast" in said.out


def test_a_forecast_is_what_python_answers_in_the_files_own_words(cli, weather):
    folder, _ = weather
    table = ahead(cli, folder, "--steps 4 -n 40 --level 0.8")
    frame = pd.read_csv(folder / "weather.csv").sort_values("when")
    assert list(table.columns) == [
        *("station", "when", "step", "temp", "temp_lower", "temp_upper"),
        *("birds", "birds_lower", "birds_upper", "sky", "p_sky"),
    ]
    assert len(table) == 3 * 4
    model = lk.open(folder / "run")
    labels = model.space.variables[2].labels
    for name, own in table.groupby("station"):
        last = frame[frame["station"] == name]
        assert list(own["when"]) == list(pd.date_range(last["when"].max(), periods=5, freq="h")[1:])
    # Rows draw by their own place: one series alone must be the first of the file to have the same draws.
    first = pd.read_csv(folder / "weather.csv")["station"][0]
    known = frame[frame["station"] == first]
    codes = known["sky"].map(labels.index)
    x = np.stack([known["temp"], known["birds"], codes], -1)
    draws = model.forecast([x], 4, n=40, seed=3)
    low, middle, high = draws.quantiles(0.1, 0.5, 0.9).numpy()[:, 0]
    own = table[table["station"] == first]
    width = np.median(high[:, 0] - low[:, 0])
    for column, wanted in (("temp_lower", low), ("temp", middle), ("temp_upper", high)):
        assert np.abs(own[column] - wanted[:, 0]).max() < 0.02 * width
    assert list(own["birds_lower"]) == list(np.floor(low[:, 1]))
    assert list(own["birds_upper"]) == list(np.ceil(high[:, 1]))
    shares = np.stack([(draws.x[:, 0, :, 2] == k).double().mean(0) for k in range(2)])
    assert list(own["sky"]) == [labels[k] for k in shares.argmax(0)]
    assert np.allclose(own["p_sky"], shares.max(0), atol=1e-6)


def test_draws_themselves_are_written(cli, weather):
    folder, _ = weather
    table = ahead(cli, folder, "--steps 3 -n 5 --draws")
    assert list(table.columns) == ["station", "when", "draw", "step", "temp", "birds", "sky"]
    assert len(table) == 3 * 5 * 3
    assert set(table["sky"]) <= {"rain", "sun"}
    assert table.groupby("station")["draw"].nunique().eq(5).all()
    wet = table["sky"] == "rain"
    assert (
        table[wet]["temp"].mean() < 950 < table[~wet]["temp"].mean()
    )  # columns of one draw belong together


def test_rows_of_answers_bear_the_names_of_series(cli, weather):
    folder, _ = weather
    order = list(dict.fromkeys(pd.read_csv(folder / "weather.csv")["station"]))
    for verb, each in (("score", 1), ("encode", STEPS)):
        said = cli(f"{verb} {folder}/run {folder}/weather.csv --out {folder}/{verb}.csv")
        assert said.code == 0, said.err
        assert list(pd.read_csv(folder / f"{verb}.csv")["station"]) == [
            name for name in order for _ in range(each)
        ]
    states = pd.read_csv(folder / "encode.csv")
    assert np.allclose(states[["p_0", "p_1"]].sum(axis=1), 1)
    frame = pd.read_csv(folder / "weather.csv").sort_values("when")
    sky = np.concatenate([frame[frame["station"] == name]["sky"] for name in order])
    agree = np.mean(states["code"].to_numpy() == (sky == "sun"))
    assert max(agree, 1 - agree) > 0.95


def test_one_series_holds_its_last_steps_out(cli, tmp_path):
    rng = np.random.default_rng(1)
    months = pd.date_range("2020-01-31", periods=40, freq="ME").strftime("%Y-%m-%d")
    pd.DataFrame({"month": months, "sales": rng.normal(size=40).cumsum()}).to_csv(
        tmp_path / "s.csv", index=False
    )
    said = cli(
        f"fit {tmp_path}/s.csv linear_dynamical --series all --budget '5 steps' --out {tmp_path}/run"
    )
    assert said.code == 0, said.err
    assert "the last 4 steps of the series are held out" in said.out
    assert "held out: log p" in said.out
    said = cli(f"forecast {tmp_path}/run {tmp_path}/s.csv --steps 3 -n 20 --seed 0")
    lines = said.out.splitlines()
    assert lines[0] == "month,step,sales,sales_lower,sales_upper"
    assert [line.split(",")[0] for line in lines[1:]] == ["2023-05-31", "2023-06-30", "2023-07-31"]


def test_a_file_of_series_is_asked_by_its_path(cli, tmp_path):
    rng = np.random.default_rng(0)
    rows = [",".join(f"{v:.2f}" for v in rng.normal(size=8)) + f":{k % 2}" for k in range(20)]
    head = "@problemName p\n@univariate true\n@classLabel true 0 1\n@data\n"
    (tmp_path / "p.ts").write_text(head + "\n".join(rows) + "\n")
    assert (
        cli(f"fit {tmp_path}/p.ts hmm states=2 --budget '3 steps' --out {tmp_path}/run").code == 0
    )
    said = cli(f"forecast {tmp_path}/run {tmp_path}/p.ts --steps 2 -n 5")
    assert said.code == 0, said.err
    assert said.out.splitlines()[0] == "row,step,x0,x0_lower,x0_upper"
    assert len(said.out.splitlines()) == 1 + 20 * 2
    scores = pd.read_csv(io.StringIO(cli(f"score {tmp_path}/run {tmp_path}/p.ts").out))
    x = np.array([[float(v) for v in row.split(":")[0].split(",")] for row in rows])
    model = lk.open(tmp_path / "run")
    assert scores["log_prob"].to_numpy() == pytest.approx(
        model.log_prob(list(x[..., None])).value.numpy()
    )
    assert scores["log_prob"].to_numpy() == pytest.approx(
        model.log_prob(tmp_path / "p.ts").value.numpy()
    )


def test_symbols_are_told_by_the_likeliest(cli, tmp_path):
    (tmp_path / "t.txt").write_text("abababababab\nbabababababa\n" * 10)
    assert cli(f"fit {tmp_path}/t.txt markov --holdout 0 --out {tmp_path}/run").code == 0
    (tmp_path / "new.txt").write_text("aba\n")
    said = cli(f"forecast {tmp_path}/run {tmp_path}/new.txt --steps 3 -n 50 --seed 0")
    assert said.code == 0, said.err
    table = [line.split(",") for line in said.out.splitlines()]
    assert table[0] == ["step", "symbol", "p_symbol"]
    assert [row[1] for row in table[1:]] == ["b", "a", "b"]
    assert all(float(row[2]) > 0.8 for row in table[1:])


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("forecast {run} {folder}/few.csv", 1, "no column 'birds'"),
        ("forecast {run} {folder}/unnamed.csv", 1, "--series all"),
        ("forecast {run} {folder}/empty.csv", 1, "the file is empty"),
        ("forecast {run} {folder}/gone.csv", 1, "no file or data set"),
        ("forecast {run} {folder}/odd.csv", 1, "'hail' is no"),
        ("forecast {run} {folder}/weather.csv --level 1", 2, "--level 1 is no share"),
        (
            "forecast {run} {folder}/weather.csv --out {folder}/weather.csv",
            2,
            "take the place of the data",
        ),
        (
            "forecast {folder}/flat {folder}/weather.csv",
            1,
            "cannot forecast: items of one fixed length",
        ),
        ("score {run} {folder}/weather.csv --keep", 2, "leave --keep out"),
        ("fit {folder}/weather.csv hmm --out {folder}/no", 2, "--series COLUMN"),
        (
            "fit {folder}/weather.csv hmm --series statoin --out {folder}/no",
            1,
            "did you mean 'station'",
        ),
        ("fit {folder}/weather.csv gaussian --words 3 --out {folder}/no", 2, "leave --words out"),
    ],
)
def test_what_is_amiss_is_said_in_one_sentence(cli, weather, line, code, words):
    folder, _ = weather
    frame = pd.read_csv(folder / "weather.csv")
    frame.drop(columns="birds").to_csv(folder / "few.csv", index=False)
    frame.drop(columns="station").to_csv(folder / "unnamed.csv", index=False)
    frame.assign(sky="hail").to_csv(folder / "odd.csv", index=False)
    (folder / "empty.csv").write_text("")
    if "/flat" in line:
        made = cli(
            f"fit {folder}/weather.csv independent --out {folder}/flat --overwrite --columns when=skip"
        )
        assert made.code == 0, made.err
    said = cli(line.format(run=folder / "run", folder=folder))
    assert (said.code, words in said.err) == (code, True), said.err
    assert "unforeseen" not in said.err
    assert len([e for e in said.err.splitlines() if e.startswith("error: ")]) == 1


def test_the_row_at_fault_is_that_of_the_file(cli, weather):
    folder, _ = weather
    frame = pd.read_csv(folder / "weather.csv", dtype=str)
    frame.loc[17, "temp"] = "hot"
    frame.to_csv(folder / "hot.csv", index=False)
    assert "data row 18, column 'temp'" in cli(f"forecast {folder}/run {folder}/hot.csv").err
    said = cli(f"fit {folder}/hot.csv hmm --series station --columns temp=real --out {folder}/no")
    assert "data row 18" in said.err


def test_no_steps_are_no_question(cli, weather):
    folder, _ = weather
    said = cli(f"forecast {folder}/run {folder}/weather.csv --steps 0")
    assert said.code == 2
    assert "--steps" in said.err


def test_support_says_who_forecasts(weather):
    folder, _ = weather
    answer = lk.open(folder / "run").support("forecast")
    assert answer
    flat = lk.fit("gaussian", np.random.default_rng(0).normal(size=(50, 2)), progress=False)
    assert "nothing behind" in flat.support("forecast").why


def test_columns_called_as_the_answers_own_are_both_there(cli, tmp_path):
    g = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "kind": np.repeat(["x", "y", "z"], 20),
            "item": g.normal(size=60),
            "draw": g.normal(size=60),
        }
    )
    frame.to_csv(tmp_path / "own.csv", index=False)
    fitted = cli(
        f"fit {tmp_path}/own.csv hmm states=2 --series kind --budget '3 steps' --out {tmp_path}/own"
    )
    assert fitted.code == 0, fitted.err
    for draws, first in (
        ("", ["kind", "step", "item"]),
        ("--draws", ["kind", "draw_", "step", "item", "draw"]),
    ):
        said = cli(
            f"forecast {tmp_path}/own {tmp_path}/own.csv --steps 2 -n 5 {draws} --out {tmp_path}/next.csv"
        )
        assert said.code == 0, said.err
        ahead = pd.read_csv(tmp_path / "next.csv")
        assert list(ahead.columns)[: len(first)] == first
        assert sorted(set(ahead["kind"])) == ["x", "y", "z"]
    said = cli(f"score {tmp_path}/own {tmp_path}/own.csv --out {tmp_path}/scores.csv")
    assert said.code == 0, said.err
    scores = pd.read_csv(tmp_path / "scores.csv")
    assert list(scores["kind_"]) == ["x", "y", "z"]
    assert set(scores["kind"]) == {"exact"}


def test_each_series_has_the_decimals_of_its_own_interval():
    low = torch.tensor([0.00123456, 123456.7])[None, :, None].double()
    wide = torch.cat(
        [low, low - torch.tensor([1e-4, 1e4])[:, None], low + torch.tensor([1e-4, 1e4])[:, None]]
    )
    assert _rounded(wide)[0].flatten().tolist() == [0.0012346, 123457.0]


# ---- the columns of the fit ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(cli, tmp_path_factory):
    """Two series of which a first column holds dates at random; and a model that was fitted without it."""
    folder, rng = tmp_path_factory.mktemp("made"), np.random.default_rng(0)
    days = pd.date_range("2024-03-01", periods=20).strftime("%Y-%m-%d")
    frame = pd.concat([
        pd.DataFrame({"id": name, "date": days, "a": rng.normal(size=20).cumsum(), "b": rng.normal(size=20)})
        for name in ("x", "y")
    ], ignore_index=True)  # fmt: skip
    frame.insert(
        0, "made", rng.permutation(pd.date_range("2001-01-01", periods=40).strftime("%Y-%m-%d"))
    )
    frame.to_csv(folder / "made.csv", index=False)
    fit = f"fit {folder}/made.csv linear_dynamical --series id --budget '3 steps' --holdout 0"
    assert cli(f"{fit} --columns made=skip --out {folder}/run").code == 0
    assert cli(f"{fit} --columns made=skip --columns date=skip --out {folder}/rows").code == 0
    return folder, frame


@pytest.mark.parametrize("run", ["run", "rows"])
def test_columns_that_were_skipped_do_not_order_the_steps(cli, made, run):
    folder, frame = made
    said = cli(
        f"forecast {folder}/{run} {folder}/made.csv --steps 2 -n 20 --seed 0 --out {folder}/out.csv"
    )
    assert said.code == 0, said.err
    assert "not in order" not in said.err
    table = pd.read_csv(folder / "out.csv")
    assert ("made" in table, "date" in table) == (False, run == "run")
    if run == "run":
        assert list(table["date"]) == ["2024-03-21", "2024-03-22"] * 2
    scores = pd.read_csv(io.StringIO(cli(f"score {folder}/{run} {folder}/made.csv").out))
    x = [frame.loc[frame["id"] == name, ["a", "b"]].to_numpy(copy=True) for name in ("x", "y")]
    assert scores["log_prob"].to_numpy() == pytest.approx(
        lk.open(folder / run).log_prob(x).value.numpy()
    )


def test_a_model_fitted_in_python_is_asked_by_its_own_columns(cli, made):
    folder, _ = made
    data = lk.load(folder / "made.csv", series="id", columns={"made": "skip"}, test=0.0)
    lk.fit("hmm", data.train, states=2, budget="3 steps", holdout=0.0, progress=False).save(
        folder / "py"
    )
    said = cli(f"forecast {folder}/py {folder}/made.csv --steps 2 -n 20")
    assert said.code == 0, said.err
    assert [line.split(",")[:2] for line in said.out.splitlines()] == [
        ["id", "date"], *(["x", f"2024-03-{day}"] for day in (21, 22)), *(["y", f"2024-03-{day}"] for day in (21, 22)),
    ]  # fmt: skip


def test_models_that_do_not_say_how_rows_became_series_ask_where_times_repeat(cli, made):
    folder, _ = made
    data = lk.load(folder / "made.csv", series="id", columns={"made": "skip"}, test=0.0)
    model = lk.fit("hmm", data.train, states=2, budget="3 steps", holdout=0.0, progress=False)
    model.facts = {
        name: fact for name, fact in model.facts.items() if name not in {"series", "times"}
    }
    model.save(folder / "old")
    pd.read_csv(folder / "made.csv").drop(columns="made").to_csv(folder / "dated.csv", index=False)
    said = cli(f"forecast {folder}/old {folder}/dated.csv --steps 2 -n 20")
    assert said.code == 1
    assert "times repeat" in said.err
    assert "--series COLUMN|all" in said.err
    for series, rows in (("id", 4), ("all", 2)):
        said = cli(f"forecast {folder}/old {folder}/dated.csv --steps 2 -n 20 --series {series}")
        assert (said.code, len(said.out.splitlines())) == (0, 1 + rows), said.err


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_times_are_written_with_the_offset_that_they_came_with(cli, tmp_path, suffix):
    rng = np.random.default_rng(0)
    times = [f"2024-03-{day:02}T00:00:00+02:00" for day in range(1, 21)]
    pd.DataFrame({"date": times, "v": rng.normal(size=20)}).to_csv(tmp_path / "z.csv", index=False)
    fit = f"fit {tmp_path}/z.csv linear_dynamical --series all --budget '2 steps' --out {tmp_path}/run"
    assert cli(fit).code == 0
    out = tmp_path / f"out.{suffix}"
    said = cli(f"forecast {tmp_path}/run {tmp_path}/z.csv --steps 2 -n 20 --out {out}")
    assert said.code == 0, said.err
    found = pd.read_csv(out) if suffix == "csv" else pd.read_parquet(out)
    between = "T" if suffix == "csv" else " "
    assert [str(t) for t in found["date"]] == [
        f"2024-03-21{between}00:00:00+02:00",
        f"2024-03-22{between}00:00:00+02:00",
    ]


def test_a_series_alone_is_ranked_among_none(cli, tmp_path):
    pd.DataFrame({"a": np.random.default_rng(0).normal(size=40)}).to_csv(
        tmp_path / "alone.csv", index=False
    )
    fitted = cli(
        f"fit {tmp_path}/alone.csv hmm states=2 --series all --budget '3 steps' --out {tmp_path}/alone"
    )
    assert fitted.code == 0, fitted.err
    said = cli(f"score {tmp_path}/alone {tmp_path}/alone.csv")
    assert said.code == 0, said.err
    assert "learned from one series: there are none to rank among" in " ".join(said.err.split())


@pytest.mark.parametrize(
    ("months", "following"),
    [
        ([f"{1956 + k // 12}-{k % 12 + 1:02}" for k in range(60)], ["1961-01", "1961-02"]),
        ([f"{1956 + k // 4}Q{k % 4 + 1}" for k in range(60)], ["1971Q1", "1971Q2"]),
        ([f"Q{k % 4 + 1} {1956 + k // 4}" for k in range(60)], ["Q1 1971", "Q2 1971"]),
        ([f"{m} {y}" for y in range(1956, 1961) for m in ("Jan", "Feb", "Mar", "Apr", "May", "Jun",
          "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")], ["Jan 1961", "Feb 1961"]),
        ([f"{d:02}.05.2021" for d in range(1, 31)], ["31.05.2021", "01.06.2021"]),
    ],
)  # fmt: skip
def test_months_and_quarters_go_on_by_the_calendar_as_they_are_written(
    cli, tmp_path, months, following
):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"when": months, "litres": rng.normal(100, 5, len(months)).round(2)})
    frame.to_csv(tmp_path / "beer.csv", index=False)
    fit = f"fit {tmp_path}/beer.csv linear_dynamical --series all --budget '3 steps'"
    assert cli(f"{fit} --out {tmp_path}/run").code == 0
    said = cli(f"forecast {tmp_path}/run {tmp_path}/beer.csv --steps 2 -n 20")
    assert said.code == 0, said.err
    assert [line.split(",")[0] for line in said.out.splitlines()] == ["when", *following]
