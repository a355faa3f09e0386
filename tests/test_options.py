"""docs/options.md: a row for every option of every family, and none of an option that is gone."""

import re
from functools import cache
from pathlib import Path

import pytest

from bench.options_measures import NUMBERS
from bench.options_rows import ROWS, SHARED
from likeness.core.config import GradientConfig
from likeness.registry import family, load_all
from likeness.registry.entries import build_index

PAGE = Path(__file__).parents[1] / "docs" / "options.md"
NAMES = sorted(build_index())


@cache
def table(section: str) -> dict[str, str]:
    """The meanings that a section of the page gives, by option."""
    load_all()
    part = PAGE.read_text(encoding="utf-8").split(f"\n## {section}\n", 1)[1].split("\n## ", 1)[0]
    return dict(re.findall(r"^\| `(\w+)` \| (.*?) \| ", part, flags=re.MULTILINE))


def own(name: str) -> dict[str, str]:
    """The options that are a family's own: those that it declares, whether or not it shares their names."""
    config = family(name).Config
    return {
        o: config.model_fields[o].description
        for o in config.__annotations__
        if o in config.model_fields
    }


def shared() -> dict[str, str]:
    """Options that all families which learn by gradients have; where each sets one anew, each has its row."""
    gradient = [n for n in NAMES if issubclass(family(n).Config, GradientConfig)]
    left = [o for o in GradientConfig.__annotations__ if not all(o in own(n) for n in gradient)]
    return {o: GradientConfig.model_fields[o].description for o in left}


@pytest.mark.parametrize("name", NAMES)
def test_every_option_of_a_family_has_a_row_and_no_row_lacks_an_option(name: str) -> None:
    assert table(name) == own(name)


def test_every_shared_option_has_a_row() -> None:
    assert table(SHARED) == shared()


def test_the_rows_that_are_measured_are_those_of_the_page() -> None:
    assert {name: {r.option for r in rows} for name, rows in ROWS.items()} == {
        n: set(table(n)) for n in ROWS
    }


def test_every_row_reads_a_number_that_exists() -> None:
    assert {r.number for rows in ROWS.values() for r in rows} <= set(NUMBERS)
