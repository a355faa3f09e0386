"""The docs' table says what the families answer."""

from pathlib import Path

import pytest

from likeness.check.spaces import GIVENS, SPACES
from likeness.check.table import markdown, read, shipped, words
from tests.contract.families import ANSWERS, quick

PAGE = Path(__file__).parents[2] / "docs" / "table.md"


@pytest.fixture(scope="module")
def page():
    return PAGE.read_text(encoding="utf-8")


def test_what_is_written_is_read_again():
    kinds = ("exact", "lower bound", "no: it has its reasons", "samples only", "no: another")
    said = {
        ("a", s, g): kinds[(i + j) % 5] for i, s in enumerate(SPACES) for j, g in enumerate(GIVENS)
    }
    assert read(markdown(said)) == said


def test_the_page_names_every_family_space_and_condition(page):
    assert set(read(page)) == {(f, s, g) for f in shipped() for s in SPACES for g in GIVENS}


def test_the_page_refuses_what_the_families_refuse(page):
    said = read(page)
    assert {c: f"no: {a.why}" for c, a in ANSWERS.items() if not a} == {
        c: s for c, s in said.items() if s[:4] == "no: "
    }


@pytest.mark.xdist_group("table")
@pytest.mark.parametrize("family", shipped())
def test_the_page_says_what_a_family_answers(page, family):
    said = read(page)
    asked = [c for c in ANSWERS if c[0] == family and quick(c)]
    assert words([family], asked) == {c: said[c] for c in asked}


@pytest.mark.contract
def test_the_page_says_what_all_answer(page):
    assert page == markdown(words(shipped()))
