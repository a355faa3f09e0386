"""Spaces: JSON round trips, measures, layouts, refusals."""

import math

import pytest
from pydantic import ValidationError

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


@pytest.mark.parametrize(
    "arguments",
    [
        {"axes": ("a",), "shape": (2, 3), "variables": (Real(),)},
        {"axes": ("a", "b"), "shape": (2, None), "variables": (Real(),)},
        {"axes": ("a",), "shape": (3,), "variables": (Real(), Real())},
        {"axes": ("a",), "shape": (2,), "variables": (Real(),), "names": ("x",)},
    ],
)
def test_inconsistent_spaces_are_refused(arguments: dict) -> None:
    with pytest.raises(ValidationError):
        Space(**arguments)


def test_labels_must_fit_categories() -> None:
    with pytest.raises(ValidationError):
        Nominal(categories=3, labels=("a", "b"))
