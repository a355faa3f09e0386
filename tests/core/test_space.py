"""Spaces: JSON round trips, measures, layouts, refusals."""

import json
import math

import pytest

from likeness.core.errors import BadConfig
from likeness.core.space import (
    Count,
    Nominal,
    Ordinal,
    Real,
    Space,
    image,
    label,
    sequence,
    series,
    vector,
)


@pytest.mark.parametrize(
    "space",
    [vector(2), vector(3, (Real(resolution=0.5), Nominal(categories=3), Count())), image(3, 8, 8), sequence(5, 12),
     series(3, 16), label(4, ("a", "b", "c", "d"))],
)  # fmt: skip
def test_json_round_trip(space: Space) -> None:
    assert Space.from_json(space.to_json()) == space


def test_measure_tells_densities_from_probabilities() -> None:
    assert vector(2).measure != vector(2, Real(resolution=0.5)).measure
    assert vector(2, Real(resolution=0.5)).measure != vector(2, Real(resolution=0.25)).measure
    assert vector(2, Count()).measure == vector(2, Ordinal(levels=9)).measure
    assert "lebesgue^1" in vector(2, (Real(), Count())).measure
    assert "counting^1" in vector(2, (Real(), Count())).measure


def test_layout_and_states() -> None:
    assert sequence(5, 12).layout == (12,)
    assert series(3, 16).layout == (16, 3)
    assert series(3, 16).width == 3
    assert sequence(5, 12).width == 1
    assert image(1, 2, 2, levels=2).states == pytest.approx(16)
    assert math.isinf(vector(1).states)
    assert label(4).label == 4
    assert vector(2, Nominal(categories=4)).label is None


SPACE = {"axes": ("row", "column"), "shape": (2, 3), "variables": (Real(),)}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"axes": ("column",)}, "1 axes but 2 sizes"),
        ({"axes": ("column", "column")}, "two axes are called 'column'"),
        ({"axes": (), "shape": ()}, "axes: value should have at least 1 item"),
        ({"shape": (2, None)}, "only the first axis may be ragged"),
        ({"shape": (2, 0)}, "shape.1: input should be greater than or equal to 1"),
        ({"shape": (-2, 3)}, "shape.0: input should be greater than or equal to 1"),
        ({"shape": (2, 1.5)}, "shape.1: input should be a valid integer"),
        ({"variables": (Real(), Real())}, "2 variables for a last axis of 3"),
        ({"variables": ()}, "0 variables for a last axis of 3"),
        ({"variables": ("real",)}, "variables.0: input should be a valid dictionary"),
        ({"names": ("x",)}, "1 names for a last axis of 3"),
        ({"names": ("x", "y", "x")}, "two columns are called 'x'"),
        ({"names": ("x", "y", 3)}, "names: 3 is no text"),
        ({"written": ("point",)}, "1 forms for a last axis of 3"),
        ({"longest": 0}, "longest: input should be greater than or equal to 1"),
        ({"rate": math.nan}, "rate: input should be a finite number"),
        ({"rate": 0}, "rate: input should be greater than 0"),
        ({"colour": "red"}, "colour: extra inputs are not permitted"),
    ],
)
def test_an_inconsistent_space_is_refused_in_one_sentence(change, words):
    with pytest.raises(BadConfig) as refused:
        Space(**{**SPACE, **change})
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("make", "arguments", "words"),
    [
        (
            Real,
            {"lower": 1, "upper": 0},
            "no number lies between a lower bound of 1 and an upper bound of 0",
        ),
        (Real, {"lower": 1, "upper": 1}, "no number lies between"),
        (Real, {"lower": math.nan}, "a lower bound of nan"),
        (Real, {"upper": math.nan}, "an upper bound of nan"),
        (Real, {"lower": math.inf}, "a lower bound of inf"),
        (Real, {"upper": -math.inf}, "an upper bound of -inf"),
        (Real, {"resolution": math.nan}, "resolution: input should be a finite number"),
        (Real, {"resolution": math.inf}, "resolution: input should be a finite number"),
        (Real, {"resolution": 0}, "resolution: input should be greater than 0"),
        (Ordinal, {"levels": 0}, "levels: input should be greater than or equal to 1"),
        (Ordinal, {"levels": -3}, "levels: input should be greater than or equal to 1"),
        (Nominal, {"categories": 0}, "categories: input should be greater than or equal to 1"),
        (Nominal, {"categories": 3, "labels": ("a", "b")}, "2 labels for 3 categories"),
        (
            Nominal,
            {"categories": 2, "labels": ("a", "")},
            "an empty label cannot be told from a missing one",
        ),
        (Nominal, {"categories": 3, "labels": ("a", "b", "a")}, "two categories are called 'a'"),
        (Nominal, {"categories": 2, "labels": ("a", 1)}, "labels: 1 is no text"),
    ],
)
def test_a_variable_without_sense_is_refused_in_one_sentence(make, arguments, words):
    with pytest.raises(BadConfig) as refused:
        make(**arguments)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("make", "arguments"),
    [
        (Ordinal, {"levels": 2, "start": 2**53}),
        (Ordinal, {"levels": 2**53 + 2}),
        (Ordinal, {"levels": 3, "start": -(2**53) - 1}),
        (Nominal, {"categories": 2**53 + 1}),
    ],
)
def test_whole_numbers_that_double_precision_would_change_are_refused(make, arguments):
    with pytest.raises(BadConfig):
        make(**arguments)


def test_the_last_whole_numbers_that_are_told_apart_are_kept():
    assert Ordinal(levels=2, start=2**53 - 1).start == 2**53 - 1
    assert Ordinal(levels=1, start=-(2**53)).start == -(2**53)


def test_open_ends_may_be_written_as_infinite():
    assert Real(lower=-math.inf, upper=3).upper == 3


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", '{"axes": ' + "[" * 100_000, json.dumps({"axes": ["a"]})]
)
def test_text_that_is_no_space_is_refused_in_one_sentence(text):
    with pytest.raises(BadConfig) as refused:
        Space.from_json(text)
    assert "\n" not in str(refused.value)


def test_a_wide_space_is_described_without_a_variable_for_each_entry():
    wide = Space(axes=("row", "column"), shape=(10**6, 10**6), variables=(Real(),))
    assert wide.measure == "lebesgue^1000000000000"
    assert math.isinf(wide.states)


@pytest.mark.parametrize("change", [{"source": "\ud800"}, {"names": ("a", "b\udfff")}])
def test_names_that_no_file_can_hold_are_refused(change: dict) -> None:
    said = {**json.loads(vector(2).to_json()), **change}
    with pytest.raises(BadConfig, match="is no character"):
        Space.from_json(json.dumps(said))


def test_a_refusal_is_one_line_whatever_the_space_says() -> None:
    said = {**json.loads(vector(2).to_json()), "variables": [{"type": "a\nb"}], "c\nd": 1}
    with pytest.raises(BadConfig) as error:
        Space.from_json(json.dumps(said))
    assert "\n" not in str(error.value)
