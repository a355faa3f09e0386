"""Dates and times: formats are found, read as strptime reads them, and written as strftime does."""

import datetime as dt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from likeness.data import datetimes
from likeness.data.dateforms import find
from likeness.data.source import Loud

EPOCH = dt.datetime(1970, 1, 1)
FORMATS = [
    "%Y-%m-%d", "%d.%m.%Y", "%b %d %Y", "%d-%b-%Y", "%B %d, %Y", "%m/%d/%Y %I:%M %p", "%A %d %B %Y",
    "%a, %d %b %Y %H:%M:%S", "%Y-%m-%dT%H:%M:%S.%f", "%G-W%V-%u", "%Y%m%d", "%d %b %y", "%b-%Y", "%Y/%m/%d %H:%M",
]  # fmt: skip
MOMENTS = st.datetimes(dt.datetime(1970, 1, 1), dt.datetime(2068, 12, 31))


def days(moments):
    return [(moment - EPOCH) / dt.timedelta(days=1) for moment in moments]


@given(st.sampled_from(FORMATS), st.lists(MOMENTS, min_size=1, max_size=8))
def test_a_format_is_read_and_written_as_by_the_standard_library(form, moments):
    moments = [dt.datetime.strptime(moment.strftime(form), form) for moment in moments]
    texts = [moment.strftime(form) for moment in moments]
    np.testing.assert_allclose(datetimes.read(texts, form), days(moments), atol=1e-9)
    assert datetimes.write(np.array(moments, dtype="datetime64[us]"), form) == texts


@pytest.mark.parametrize(
    ("texts", "form", "first"),
    [
        (["jan 03 2021", "feb 14 2021"], "%_b %d %Y", "2021-01-03"),
        (["JAN 1956", "FEB 1957"], "%^b %Y", "1956-01-01"),
        (["1/2/2020", "12/25/2021"], "%-m/%-d/%Y", "2020-01-02"),
        (["13/02/2020", "03/04/2021"], "%d/%m/%Y", "2020-02-13"),
        (["March 5th, 2020", "April 22nd, 2021"], "%B %o, %Y", "2020-03-05"),
        (["1956-01", "1956-12"], "%Y-%m", "1956-01-01"),
        (["1956 Q1", "1957 Q4"], "%Y Q%q", "1956-01-01"),
        (["1956-Q2"], "%Y-Q%q", "1956-04-01"),
        (["1956Q3"], "%YQ%q", "1956-07-01"),
        (["Q4/1956"], "Q%q/%Y", "1956-10-01"),
        (["1956M11"], "%YM%m", "1956-11-01"),
        (["2020-W05"], "%G-W%V", "2020-01-27"),
        (["05/25/20", "06/01/21"], "%m/%d/%y", "2020-05-25"),
        (["01.02.2020 00:00", "03.02.2020 00:00"], "%d.%m.%Y 00:00", "2020-02-01"),
        (["2020-01-05T12:00:00+02:00"], "%Y-%m-%dT%H:%M:%S+02:00", "2020-01-05T10:00"),
    ],
)  # fmt: skip
def test_the_format_of_dates_is_found(texts, form, first):
    found = find(texts)
    assert found.form == form
    moment = np.datetime64(first, "us")
    assert found.values[0] == pytest.approx(moment.astype(float) / 86_400e6)
    assert datetimes.write(np.array([moment]), form) == texts[:1]


def test_bare_digits_are_dates_where_chance_cannot_be():
    few, many = ["20240105", "20240106"], [f"202401{day:02}" for day in range(1, 13)]
    assert find(few) is None
    assert find(few, wanted=True).form == "%Y%m%d"
    assert find(many).form == "%Y%m%d"
    assert find([*many, "20241301"]) is None


@pytest.mark.parametrize(
    "texts", [["2020-13-01"], ["31.02.2020"], ["abc"], ["12-05"], ["1.5"], [""]]
)
def test_what_is_no_date_is_none(texts):
    assert find(texts) is None


def test_doubts_about_the_order_are_said():
    assert [note for note in find(["01/02/2020"]).notes if isinstance(note, Loud)]
    assert not [note for note in find(["01/22/2020"]).notes if isinstance(note, Loud)]
    assert "two-digit years" in find(["22 Jan 20"]).notes[-1]


def test_times_of_day_are_hours():
    found = find(["9:15 AM", "12:30 PM"])
    assert found.values.tolist() == [9.25, 12.5]
    assert datetimes.write_clock(found.values, found.form) == ["9:15 AM", "12:30 PM"]
    assert find(["25:30:00", "1:00:00"]).values.tolist() == [25.5, 1.0]


def test_a_moment_goes_to_the_nearest_that_the_format_tells():
    moments = np.array(["1956-02-20", "1956-02-05"], dtype="datetime64[us]")
    assert datetimes.write(moments, "%Y-%m") == ["1956-03", "1956-02"]
    assert datetimes.write(moments, "%YQ%q") == ["1956Q2", "1956Q1"]
