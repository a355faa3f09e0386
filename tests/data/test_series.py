"""Series: .ts files, tables whose rows are steps of time, ragged arrays in .npz, and splits by time."""

import random
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import likeness as lk
from likeness.api import load
from likeness.core.errors import BadConfig, BadData
from likeness.data import catalog, tsfile
from likeness.data.series import of_frame
from likeness.data.source import Loud, between
from likeness.data.tsfile import parse
from likeness.registry import build

HEAD = """#A made-up set.
@problemName Made Up
@timeStamps false
@missing true
@univariate false
@dimensions 2
@equalLength false
@classLabel true up down
@data
"""
BODY = "1,2,3:4,5,6:up\n\n1,?:NaN,2.5e1:down\n7:8:?\n"


def written(folder: Path, text: str, name: str = "MadeUp.ts") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


# ---- .ts -----------------------------------------------------------------------------------------------------------


def test_a_file_of_series_holds_lengths_gaps_and_classes(tmp_path):
    found = parse(written(tmp_path, HEAD + BODY))
    assert [item.shape for item in found.items] == [(3, 2), (2, 2), (1, 2)]
    np.testing.assert_array_equal(found.items[0], [[1, 4], [2, 5], [3, 6]])
    np.testing.assert_array_equal(found.items[1], [[1, np.nan], [np.nan, 25]])
    assert found.classes == ["up", "down", None]


def test_train_and_test_files_are_parts_whichever_is_named(tmp_path):
    train = written(tmp_path, HEAD + BODY, "MadeUp_TRAIN.ts")
    test = written(tmp_path, HEAD + "1,2,3,4:5,6,7,8:down\n", "MadeUp_TEST.ts")
    for path in (train, test, tmp_path):
        data = load(path)
        assert (len(data.train), len(data.test), data.space.longest) == (3, 1, 4)
        assert data.space.axes == ("time", "channel")
        assert data.space.shape == (None, 2)
        assert data.labels["train"].tolist() == [0, 1, -1]
        assert data.label_space.variables[0].labels == ("up", "down")
        assert data.train.batch.holes.sum() == 2
    told = load(train, given="label")
    assert told.given_space.label == 2
    assert told.train.batch.given.observed.flatten().tolist() == [True, True, False]
    with pytest.raises(BadConfig, match="official split"):
        load(train, test=0.2)


def test_one_file_alone_is_split_by_its_series(tmp_path):
    data = load(written(tmp_path, HEAD + "1,2:3,4:up\n" * 30, "MadeUp_TRAIN.ts"), test=0.3)
    assert len(data.train) + len(data.test) == 30
    assert 0 < len(data.test) < 20


def test_series_without_classes_have_no_label(tmp_path):
    data = load(written(tmp_path, "@univariate true\n@classLabel false\n@data\n1,2\n3\n4,5,6\n"))
    assert data.label_space is None
    assert data.space.shape == (None, 1)


def test_classes_that_were_never_learned_are_hidden_and_said(tmp_path):
    data = load(written(tmp_path, HEAD + BODY), given="label", test=0.0)
    new = HEAD.replace("up down", "left down up") + "1:2:left\n3:4:up\n5:6:down\n7:8:left\n"
    batch, said = tsfile.of_file(data.space, data.given_space, written(tmp_path, new, "New.ts"))
    assert batch.given.x.flatten().tolist() == [0, 0, 1, 0]
    assert batch.given.observed.flatten().tolist() == [False, True, True, False]
    assert said == ("class 'left' was never learned: that of 2 series is taken as not known",)


def test_long_lines_are_cut_piece_by_piece(tmp_path):
    values = np.random.default_rng(0).normal(size=70_000).round(3)
    text = "@data\n" + ",".join(map(str, values.tolist())) + "\n"
    found = parse(written(tmp_path, text))
    np.testing.assert_array_equal(found.items[0][:, 0], values)


def test_series_side_by_side_take_no_more_memory_than_is_allowed(tmp_path):
    text = "@data\n" + "1," * 5000 + "1\n" + "1\n" * 5000
    with pytest.raises(BadData, match=r"of memory where .* are allowed"):
        load(written(tmp_path, text), max_memory="100MB")


@pytest.mark.parametrize(
    ("text", "words", "line"),
    [
        ("", "no line @data", 0),
        (HEAD, "no series", 0),
        ("1,2:up\n", "before the line @data", 0),
        ("@dimensions two\n@data\n1\n", "whole number", 0),
        ("@dimensions\n@data\n1\n", "whole number", 0),
        ("@missing maybe\n@data\n1\n", "neither true nor false", 0),
        ("@\n@data\n1\n", "nothing is known", 0),
        ("@frequency 5\n@data\n1\n", "@frequency", 0),
        ("@classLabel true\n@data\n1:a\n", "names no classes", 0),
        ("@classLabel true a a\n@data\n1:a\n", "one twice", 0),
        ("@timeStamps true\n@data\n(0,1)\n", "time for each value", 0),
        ("@targetLabel true\n@data\n1:0.5\n", "as their target", 0),
        (HEAD + "1,2:3,4:up\n1:2:left\n", "'left' is none of the classes up, down", 11),
        (HEAD + "1,2:3,4\n", "none of the classes", 10),
        (HEAD + "1:2:3:up\n", "3 dimensions where 2", 10),
        (HEAD + "1,2:3:up\n", "dimensions of 1, 2 values", 10),
        (HEAD + "1,x:3,4:up\n", "'x' is not a number", 10),
        (HEAD + "1,:3,4:up\n", "'' is not a number", 10),
        (HEAD + "1,inf:3,4:up\n", "inf", 10),
        ("@univariate true\n@data\n1,2:3,4\n", "2 dimensions where 1", 0),
        ("@seriesLength 3\n@data\n1,2\n", "2 steps where @seriesLength says 3", 0),
        ("@equalLength true\n@data\n1,2\n3\n", "1 steps where the first series has 2", 4),
        ("@dimensions \u00b2\n@data\n1\n", "whole number", 1),
        ("@seriesLength 99999999999999999999\n@data\n1\n", "whole number", 1),
        ("@data\n(0,1),(1,2)\n", "time for each value", 2),
        ("@data\n1,1_0\n", "'1_0' is not a number", 2),
        ("@data\n1,\u0663\n", "is not a number", 2),
        ("@data\n1,1e999\n", "inf is not a finite number", 2),
        ("@data\n1,2\x0c3\n", "is not a number", 2),
    ],
)
def test_broken_files_say_where_and_what_to_do(tmp_path, text, words, line):
    path = written(tmp_path, text)
    with pytest.raises(BadData, match=words) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert not line or f"line {line}" in str(caught.value)


def test_parts_that_do_not_go_together_are_refused(tmp_path):
    written(tmp_path, HEAD + BODY, "MadeUp_TRAIN.ts")
    test = written(tmp_path, HEAD.replace("up down", "up left") + "1:2:up\n", "MadeUp_TEST.ts")
    with pytest.raises(BadData, match="classes"):
        load(test)
    written(tmp_path, HEAD.replace("@dimensions 2", "@dimensions 1") + "1:up\n", "MadeUp_TEST.ts")
    with pytest.raises(BadData, match="dimensions 1 where the other part has 2"):
        load(test)
    written(tmp_path, HEAD + BODY, "Other.ts")
    with pytest.raises(BadData, match="one set"):
        load(tmp_path)


def damaged(text: str, chance: random.Random) -> str:
    """The text with characters cut, changed or thrown in, and sometimes its end gone."""
    for _ in range(chance.randint(1, 3)):
        at, odd = chance.randrange(len(text)), chance.choice(":,@?\n#e. ")
        text = text[:at] + chance.choice(("", odd, odd + text[at])) + text[at + 1 :]
    return text if chance.random() < 0.8 else text[: chance.randint(1, len(text))]


def test_damaged_files_are_read_or_refused_and_nothing_else(tmp_path):
    chance, refused = random.Random(0), 0
    for _ in range(400):
        try:
            load(written(tmp_path, damaged(HEAD + BODY * 3, chance)))
        except BadData as error:
            refused += 1
            assert "MadeUp" in str(error)
    assert 0 < refused < 400


# ---- tables of steps -----------------------------------------------------------------------------------------------


def hours(n: int) -> pd.DataFrame:
    t = np.arange(n)
    dates = pd.date_range("2020-01-01", periods=n, freq="h").strftime("%Y-%m-%d %H:%M:%S")
    return pd.DataFrame({"date": dates, "load": np.sin(t / 5), "oil": np.cos(t / 7)})


def test_a_csv_of_steps_is_one_series_cut_in_time(tmp_path):
    frame = hours(100)
    frame.to_csv(tmp_path / "h.csv", index=False)
    data = load(tmp_path / "h.csv", series=True, test=0.2)
    assert data.space.names == ("load", "oil")
    assert (data.space.shape, data.space.longest) == ((None, 2), 100)
    assert data.space.rate == pytest.approx(1 / 3600, rel=1e-4)
    assert (data.train.batch.length.tolist(), data.test.batch.length.tolist()) == ([80], [20])
    np.testing.assert_allclose(data.train.batch.x[0, :80, 0], frame["load"][:80])
    np.testing.assert_allclose(data.test.batch.x[0, :20, 1], frame["oil"][80:])
    assert not data.test.batch.x[0, 20:].any()
    assert any("'date' holds the times, 1 hour apart" in note for note in data.notes)
    parts = load(tmp_path / "h.csv", series=True, test=0.1, valid=0.1).parts
    assert [int(p.batch.length[0]) for p in parts.values()] == [81, 9, 10]


def test_times_out_of_order_are_sorted_and_gaps_are_said():
    frame = hours(50).drop(index=[20, 21]).sample(frac=1, random_state=0)
    data = load(frame, series=True, test=0.0)
    np.testing.assert_allclose(data.train.batch.x[0, :, 0], hours(50)["load"].drop(index=[20, 21]))
    said = " ".join(data.notes)
    assert "not in order: sorted" in said
    assert "1 of 47 steps" in said
    assert "up to 3 hours" in said
    assert data.space.rate is None
    months = pd.DataFrame(
        {"when": pd.date_range("2020-01-01", periods=24, freq="MS"), "v": np.arange(24) % 7.0}
    )
    assert any("a month apart" in note for note in load(months, series=True).notes)


def test_a_column_names_the_series_and_what_is_given_or_grouped():
    frame = pd.DataFrame(
        {
            "who": ["b", "a", "b", "a", "a", "c", "d"],
            "t": [2, 1, 1, 3, 2, 1, 1],
            "v": [2.5, 10.0, 1.5, 30.0, 20.0, np.nan, 5.0],
            "w": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7],
            "kind": ["x", "y", "x", "y", "y", "x", "y"],
            "ward": [1, 2, 1, 2, 2, 1, 2],
        }
    )
    data = load(frame, series="who", given="kind", group="ward", test=0.0)
    batch = data.train.batch
    assert batch.length.tolist() == [2, 3, 1, 1]
    assert batch.x[0, :2, 0].tolist() == [1.5, 2.5]
    assert batch.x[1, :, 0].tolist() == [10.0, 20.0, 30.0]
    assert bool(batch.holes[2, 0, 0])
    assert data.space.names == ("v", "w")
    assert data.given_space.label == 2
    assert batch.given.x.flatten().tolist() == [0, 1, 0, 1]
    assert len(set(data.train.groups.tolist())) == 2
    halves = load(frame, series="who", group="ward", test=0.5)
    assert {tuple(p.batch.ids.tolist()) for p in halves.parts.values()} == {(0, 2), (1, 3)}
    with pytest.raises(BadData, match=r"row 2, column 't'"):
        load(frame, series="who", given="t")
    with pytest.raises(BadData, match="whom"):
        load(frame, series="whom")
    with pytest.raises(BadData, match=r"row 0, column 'who'"):
        load(frame.assign(who=[None, *frame["who"][1:]]), series="who")


def test_arrays_may_be_series_and_other_things_may_not():
    x = np.random.default_rng(0).normal(size=(40, 3))
    for what in (x, torch.from_numpy(x), pd.DataFrame(x)):
        data = load(what, series=True, test=0.25)
        np.testing.assert_array_equal(data.train.batch.x[0, :30], x[:30])
    assert load([x], test=0.25).test.batch.length.tolist() == [10]
    with pytest.raises(BadConfig, match="no steps of a series"):
        load("digits", series=True)
    with pytest.raises(BadData, match="no time is given"):
        load(pd.DataFrame({"t": [1.0, np.nan, 3.0], "v": [1.0, 2.0, 3.0]}), series=True)
    with pytest.raises(BadData, match="no column is left"):
        load(pd.DataFrame({"t": [1.0, 2.0, 3.0]}), series=True)


def test_a_model_of_a_table_of_steps_is_asked_of_tables():
    data = load(hours(60), series=True)
    law = build("hmm", {"states": 2}, data.space)
    law.prepare(data.train)
    value = law.log_prob(hours(60)[["oil", "load"]]).value
    assert value.shape == (1,)
    torch.testing.assert_close(
        value, law.log_prob(load(hours(60), series=True, test=0.0).train.batch).value
    )


# ---- splits by time ------------------------------------------------------------------------------------------------


def test_every_series_may_be_cut_in_time():
    g = np.random.default_rng(1)
    items = [g.normal(size=(n, 2)) for n in (1, 4, 10, 3)]
    items[2][8] = np.nan
    data = load(items, split="time", test=0.3)
    assert data.train.batch.length.tolist() == [1, 3, 7, 2]
    assert data.test.batch.length.tolist() == [1, 3, 1]
    assert data.test.batch.ids.tolist() == [1, 2, 3]
    np.testing.assert_allclose(data.test.batch.x[1, [0, 2]], items[2][[7, 9]])
    assert data.test.batch.holes[1, 1].all()
    rows = load(items, test=0.3).parts.values()
    assert sorted(int(n) for part in rows for n in part.batch.length) == [1, 3, 4, 10]
    with pytest.raises(BadData, match="no time to be split by"):
        load(np.zeros((4, 2)) + np.arange(4)[:, None], split="time")
    with pytest.raises(BadData, match="leaves nothing"):
        load(items, split="time", test=1.0)


def test_conditions_that_go_step_by_step_are_cut_with_the_items(tmp_path):
    text = "a X\nb Y\nc X\nd Y\n\n" * 3
    data = load(written(tmp_path, text, "some.conll"), split="time", test=0.5)
    for part in data.parts.values():
        assert torch.equal(part.batch.length, part.batch.given.length)
    words = data.given_space.variables[0].labels
    assert [words[int(c)] for c in data.test.batch.given.x[0, :2, 0]] == ["c", "d"]


def test_steps_between_are_those_of_a_slice():
    whole = load([np.arange(12.0).reshape(6, 2)], test=0.0).train.batch
    found = between(whole, torch.tensor([2]), torch.tensor([5]))
    assert found.x[0, :, 0].tolist() == [4, 6, 8, 0, 0, 0]
    assert found.length.tolist() == [3]


def test_groups_keep_ragged_items_whole():
    items, who = [np.full((n % 5 + 1, 1), float(n)) for n in range(60)], np.arange(60) // 6
    data = load(items, group=who, test=0.3)
    sides = [{int(who[i]) for i in part.batch.ids} for part in data.parts.values()]
    assert not sides[0] & sides[1]
    assert len(sides[0] | sides[1]) == 10


# ---- .npz ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["lengths", "offsets", "starts", "padded", "key"])
def test_ragged_arrays_in_npz(tmp_path, how):
    g = np.random.default_rng(0)
    items = [g.normal(size=(n, 2)) for n in (3, 1, 5)]
    flat, lengths = np.concatenate(items), np.array([3, 1, 5])
    padded = np.zeros((3, 6, 2))
    for row, item in zip(padded, items, strict=True):
        row[: len(item)] = item
    held = {
        "lengths": {"x": flat, "lengths": lengths, "y": np.array([0, 1, 1])},
        "offsets": {"x": flat, "offsets": np.array([0, 3, 4, 9])},
        "starts": {"x": flat, "offsets": np.array([0, 3, 4])},
        "padded": {"x": padded, "lengths": lengths},
        "key": {"curves": flat, "lengths": lengths},
    }[how]
    np.savez(tmp_path / "r.npz", **held)
    batch = load(tmp_path / "r.npz", test=0.0).train.batch
    assert batch.length.tolist() == [3, 1, 5]
    for row, item in zip(batch.x, items, strict=True):
        np.testing.assert_array_equal(row[: len(item)], item)
    assert (load(tmp_path / "r.npz").label_space is not None) == ("y" in held)


@pytest.mark.parametrize(
    "held",
    [
        {"lengths": np.array([3, 1])},
        {"lengths": np.array([3.0, 6.0])},
        {"lengths": np.array([-1, 10])},
        {"lengths": np.array([], dtype=int)},
        {"lengths": np.array([[9]])},
        {"offsets": np.array([1, 9])},
        {"offsets": np.array([0, 5, 3])},
    ],
)
def test_lengths_that_do_not_go_with_the_array_are_refused(tmp_path, held):
    np.savez(tmp_path / "r.npz", x=np.zeros((9, 2)), **held)
    with pytest.raises(BadData, match="do not go with 9 steps"):
        load(tmp_path / "r.npz")


def test_pickled_items_are_refused_with_what_to_save_instead(tmp_path):
    np.savez(tmp_path / "r.npz", x=np.array([np.zeros(2), np.zeros(3)], dtype=object))
    with pytest.raises(BadData, match=r"pickled objects.*lengths"):
        load(tmp_path / "r.npz")


# ---- named sets ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "sizes", "channels", "classes", "longest"),
    [
        ("italy-power-demand", (67, 1029), 1, 2, 24),
        ("gunpoint", (50, 150), 1, 2, 150),
        ("arrowhead", (36, 175), 1, 3, 251),
        ("japanese-vowels", (270, 370), 12, 9, 29),
        ("basic-motions", (40, 40), 6, 4, 100),
    ],
)
def test_sets_of_the_archives_are_as_they_are_known(name, sizes, channels, classes, longest):
    if not catalog.available(name):
        pytest.skip(f"{name} is not here")
    data = load(name)
    assert (len(data.train), len(data.test)) == sizes
    assert (data.space.shape, data.space.longest) == ((None, channels), longest)
    assert data.label_space.label == classes
    assert set(data.labels["test"].tolist()) == set(range(classes))


@pytest.mark.parametrize(
    ("name", "steps", "channels"), [("etth1", 17420, 7), ("exchange-rate", 7588, 8)]
)
def test_long_series_are_cut_in_time(name, steps, channels):
    if not catalog.available(name):
        pytest.skip(f"{name} is not here")
    data = load(name, test=0.2)
    assert data.space.shape == (None, channels)
    assert int(data.train.batch.length[0] + data.test.batch.length[0]) == steps
    assert int(data.test.batch.length[0]) == round(0.2 * steps)


def test_speakers_are_told_apart_by_hidden_markov_models():
    if not catalog.available("japanese-vowels"):
        pytest.skip("japanese-vowels is not here")
    data = load("japanese-vowels", given="label")
    law = {"family": "hmm", "states": 3, "covariance": "diagonal", "restarts": 1, "passes": 10}
    model = lk.fit("discriminant", data, density=law, holdout=0.0, progress=False)
    rows = data.test.batch
    told = model.classify(rows.given_as(None)).best
    assert float((told == rows.given.x[:, 0]).double().mean()) > 0.9


# ---- times that come -----------------------------------------------------------------------------------------------


def table_of(*series: list, unit: str = "when") -> pd.DataFrame:
    """Series of such times, with a column of values."""
    who = [name for name, times in zip("abcdef", series, strict=False) for _ in times]
    times = [t for own in series for t in own]
    return pd.DataFrame(
        {"id": who, unit: times, "v": np.random.default_rng(0).normal(size=len(times))}
    )


def come(frame: pd.DataFrame, steps: int = 2) -> list[list[str]]:
    """The times of the next steps of each series."""
    space = load(frame, series="id", test=0.0).space
    clock = of_frame(space, None, frame, "id").clock
    assert clock is not None
    return [
        [str(pd.Timestamp(t)).removesuffix(" 00:00:00") for t in row] for row in clock.ahead(steps)
    ]


MONTHLY_28 = [f"2020-{m:02}-28" for m in range(9, 13)] + ["2021-01-28", "2021-02-28"]


@pytest.mark.parametrize(
    ("times", "next_two"),
    [
        (MONTHLY_28, ["2021-03-28", "2021-04-28"]),
        (["2020-08-30", "2020-09-30", "2020-10-30", "2020-11-30"], ["2020-12-30", "2021-01-30"]),
        (["2020-12-30", "2021-01-30", "2021-02-28"], ["2021-03-30", "2021-04-30"]),
        (["2021-01-01", "2022-01-01", "2023-01-01"], ["2024-01-01", "2025-01-01"]),
        (["2022-12-31", "2023-12-31"], ["2024-12-31", "2025-12-31"]),
        (["2021-02-28", "2022-02-28", "2023-02-28"], ["2024-02-29", "2025-02-28"]),
        (["2020-07-01", "2020-10-01", "2021-01-01"], ["2021-04-01", "2021-07-01"]),
        (["2020-06-30", "2020-09-30"], ["2020-12-31", "2021-03-31"]),
        (["2021-07-01", "2021-08-01", "2021-09-01"], ["2021-10-01", "2021-11-01"]),
        (["2021-01-05 06:30", "2021-02-05 06:30"], ["2021-03-05 06:30:00", "2021-04-05 06:30:00"]),
        (["2021-01-31", "2021-03-02", "2021-04-01"], ["2021-05-01", "2021-05-31"]),
        (["2021-02-01", "2021-03-01", "2021-03-29"], ["2021-04-26", "2021-05-24"]),
        (["2021-01-30", "2021-01-31", "2021-02-01"], ["2021-02-02", "2021-02-03"]),
        (["2021-12-31", "2022-01-01"], ["2022-01-02", "2022-01-03"]),
        (["2021-03-01", "2021-03-15", "2021-03-29"], ["2021-04-12", "2021-04-26"]),
    ],
)
def test_times_go_on_by_the_calendar_or_by_a_length(times, next_two):
    assert come(table_of(times)) == [next_two]


def test_each_series_keeps_to_its_own_day_of_the_month():
    ends, middles = (
        ["2019-12-31", "2020-01-31", "2020-02-29"],
        ["2020-01-15", "2020-02-15", "2020-03-15"],
    )
    assert come(table_of(ends, middles)) == [
        ["2020-03-31", "2020-04-30"],
        ["2020-04-15", "2020-05-15"],
    ]
    quarters, others = ["2020-06-30", "2020-09-30"], ["2020-06-15", "2020-09-15"]
    assert [own[0] for own in come(table_of(quarters, others))] == ["2020-12-31", "2020-12-15"]
    # One date alone cannot say what it keeps to: it is the end of a month where all of the others are.
    assert come(table_of(ends, ["2020-04-30"]))[1] == ["2020-05-31", "2020-06-30"]
    assert come(table_of(middles, ["2020-04-30"]))[1] == ["2020-05-30", "2020-06-30"]


@pytest.mark.parametrize(
    "times",
    [
        ["2020-01-01", "2020-02-01", "2020-02-20"],
        ["2020-01-01", "2020-02-01", "2020-04-01"],
        ["2021-01-05 06:00", "2021-02-05 07:00", "2021-03-05 06:00"],
        ["2021-01-01", "2021-01-01", "2021-01-01"],
    ],
)
def test_uneven_times_are_not_gone_on_with(times):
    frame = table_of(times)
    space = load(frame, series="id", test=0.0).space
    assert of_frame(space, None, frame, "id").clock is None


@pytest.mark.parametrize(
    ("times", "next_two"),
    [
        (["2021-03-01T00:00:00+02:00", "2021-04-01T00:00:00+02:00"],
         ["2021-05-01 00:00:00+02:00", "2021-06-01 00:00:00+02:00"]),
        (["2021-03-27T00:00:00+01:00", "2021-03-28T00:00:00+01:00", "2021-03-29T00:00:00+02:00"],
         ["2021-03-30 00:00:00+02:00", "2021-03-31 00:00:00+02:00"]),
        (["2021-03-28T01:00+01:00", "2021-03-28T03:00+02:00"],
         ["2021-03-28 04:00:00+02:00", "2021-03-28 05:00:00+02:00"]),
        (["2021-03-01 22:00Z", "2021-03-01 23:00Z"], ["2021-03-02 00:00:00+00:00", "2021-03-02 01:00:00+00:00"]),
        (["2021-01-31 23:00-0530", "2021-02-28 23:00-0530"],
         ["2021-03-31 23:00:00-05:30", "2021-04-30 23:00:00-05:30"]),
    ],
)  # fmt: skip
def test_offsets_are_kept_and_steps_are_those_of_the_wall(times, next_two):
    assert come(table_of(times)) == [next_two]


def test_zones_are_kept_through_the_change_of_clocks():
    days = pd.date_range("2021-03-25", periods=3, freq="D", tz="Europe/Berlin")
    assert come(table_of(list(days))) == [
        ["2021-03-28 00:00:00+01:00", "2021-03-29 00:00:00+02:00"]
    ]
    hours = pd.date_range("2021-03-27 23:00", periods=3, freq="h", tz="Europe/Berlin")
    assert come(table_of(list(hours))) == [
        ["2021-03-28 03:00:00+02:00", "2021-03-28 04:00:00+02:00"]
    ]
    months = pd.date_range("2021-01-01", periods=3, freq="MS", tz="Europe/Berlin")
    assert come(table_of(list(months))) == [
        ["2021-04-01 00:00:00+02:00", "2021-05-01 00:00:00+02:00"]
    ]


@pytest.mark.parametrize(
    ("first", "after"),
    [
        ("2023-10-28 20:00", ["2023-10-29 16:00:00", "2023-10-29 17:00:00"]),  # 02:00 comes twice
        ("2023-03-25 20:00", ["2023-03-26 18:00:00", "2023-03-26 19:00:00"]),  # none shows 02:00
    ],
)
def test_clocks_without_a_zone_are_put_forward_and_back(first, after):
    """What the hours of Berlin show, its zone unsaid: no step is odd, no time repeats, and times go on."""
    hours = pd.date_range(first, periods=21, freq="h", tz="Europe/Berlin").tz_localize(None)
    table = table_of(list(hours))
    assert [[str(time) for time in times] for times in come(table)] == [after]
    notes = lk.load(table, series=True, test=0.0).notes
    assert any("were put forward or back in 1 night" in note for note in notes)
    assert not any("repeat" in note or "are not 1 hour" in note for note in notes)


def test_a_missing_hour_is_no_change_of_clocks():
    hours = pd.date_range("2023-06-24 20:00", periods=21, freq="h").delete(6)
    notes = lk.load(table_of(list(hours)), series=True, test=0.0).notes
    assert any("1 of 19 steps" in note for note in notes)


def test_short_steps_are_said_and_gone_on_with():
    for step, said in (
        ("100us", "100 microseconds apart"),
        ("20ms", "20 milliseconds apart"),
        ("90s", "90 seconds"),
    ):
        times = pd.date_range("2021-03-01 10:00", periods=6, freq=step)
        frame = table_of(list(times[:4]))
        data = load(frame, series="id", test=0.0)
        assert any(said in note for note in data.notes), data.notes
        assert data.space.rate == pytest.approx(1 / pd.Timedelta(step).total_seconds(), rel=1e-4)
        assert [
            pd.Timestamp(t) for t in of_frame(data.space, None, frame, "id").clock.ahead(2)[0]
        ] == list(times[4:])


def test_times_that_repeat_are_said_with_what_to_name():
    dates = [str(d) for d in pd.date_range("2021-03-01", periods=9)]
    notes = load(table_of(dates, dates), series=True, columns={"id": "skip"}, test=0.0).notes
    loud = [note for note in notes if isinstance(note, Loud) and "repeat" in note]
    assert len(loud) == 1
    assert "series=" in loud[0]
    assert "--series" in loud[0]


# ---- the columns of the fit ----------------------------------------------------------------------------------------


def test_the_column_of_times_is_that_of_the_fit():
    frame, rng = hours(30), np.random.default_rng(0)
    other = (
        pd.Series(pd.date_range("2001-01-01", periods=30))
        .sample(frac=1, random_state=0)
        .astype(str)
        .to_numpy()
    )
    both = pd.concat(
        [pd.DataFrame({"made": other}), frame.iloc[rng.permutation(30)].reset_index(drop=True)],
        axis=1,
    )
    data = load(both, series=True, columns={"made": "skip"}, test=0.0)
    assert (data.train.layout.series, data.train.layout.times) == (None, ("date",))
    found = of_frame(data.space, None, both, times=data.train.layout.times)
    assert torch.equal(found.batch.x, data.train.batch.x)
    np.testing.assert_allclose(found.batch.x[0, :, 0], frame["load"])
    unsorted = load(both, series=True, columns={"made": "skip", "date": "skip"}, test=0.0)
    assert unsorted.train.layout.times == ()
    found = of_frame(unsorted.space, None, both, times=())
    assert torch.equal(found.batch.x, unsorted.train.batch.x)
    np.testing.assert_allclose(found.batch.x[0, :, 0], both["load"])
    assert found.clock is None
    without = of_frame(data.space, None, both.drop(columns="date"), times=("date",))
    assert "no column 'date' holds times" in without.notes[0]


def test_a_model_remembers_how_rows_became_series(tmp_path):
    frame = table_of(
        ["2021-03-01", "2021-03-02", "2021-03-03"] * 4, ["2021-03-01", "2021-03-02"] * 4
    )
    told = load(frame, series="id", test=0.0)
    lk.fit("hmm", told, states=2, budget="2 steps", holdout=0.0, progress=False).save(
        tmp_path / "run"
    )
    facts = lk.open(tmp_path / "run").facts
    assert (facts["series"], facts["times"]) == ("id", ["when"])
