"""Text that a spreadsheet would run, and numbers that it would not."""

import pandas as pd
import pytest

from likeness.core.formulas import cell, checked, defused

RUN = (
    "=1+1",
    "=cmd|' /C calc'!A0",
    "+1+1",
    "-2+3+cmd|' /C calc'!A0",
    "-A1",
    "@SUM(1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "-",
    "+",
    "-1(2)",
    "-1-1",
    "\uff1d1+1",
    '=HYPERLINK("x://y","x")',
)
NUMBERS = ("-1", "+1", "-1.5e-3", "-1.234,50 €", "-$5", "-5 %", "- 3", "-1'000.5", "-5 kg", "-inf")
HARMLESS = ("a=1", "", "1+1", " =1", "'=1", "Genève", "a@b")


@pytest.mark.parametrize("text", RUN)
def test_what_would_be_run_has_an_apostrophe(text: str) -> None:
    assert cell(text) == f"'{text}"


@pytest.mark.parametrize("value", [*NUMBERS, *HARMLESS, -1, -1.5, None, True])
def test_numbers_and_other_text_stay(value: object) -> None:
    assert cell(value) is value


def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "=name": ["=1+1", None, "b"],
            "n": [-1.5, 2.0, float("nan")],
            "kind": pd.Categorical(["@x", "y", "@x"]),
            "day": pd.to_datetime(["2021-01-01", None, "2021-01-02"]),
        }
    )


def test_tables_are_changed_where_it_is_asked_for_alone() -> None:
    assert checked(frame()) is not None
    pd.testing.assert_frame_equal(checked(frame()), frame())
    with defused():
        made = checked(frame())
    assert list(made.columns) == ["'=name", "n", "kind", "day"]
    assert made["'=name"].tolist()[0] == "'=1+1"
    assert made["'=name"].isna().tolist() == [False, True, False]
    assert made["kind"].tolist() == ["'@x", "y", "'@x"]
    pd.testing.assert_series_equal(made["n"], frame()["n"])
    pd.testing.assert_series_equal(made["day"], frame()["day"])


def test_columns_of_one_name_are_all_changed() -> None:
    twice = pd.DataFrame([["=a", "=b"]], columns=["x", "x"])
    with defused():
        assert checked(twice).to_numpy().tolist() == [["'=a", "'=b"]]
        assert checked(pd.DataFrame(index=range(2))).shape == (2, 0)
