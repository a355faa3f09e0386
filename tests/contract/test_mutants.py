"""Each check fails on the bugs that are planted for it, and is blind to those of others."""

import warnings
from collections import Counter

import pytest

from likeness.check.contract import checks
from tests.contract import mutants_chains  # noqa: F401 - plants more of them
from tests.contract.mutants import MUTANTS, judged

NUMBERS = [c.number for c in checks()]


@pytest.fixture(autouse=True)
def calm():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def grouped(mutant):
    return pytest.param(
        mutant, id=str(mutant), marks=pytest.mark.xdist_group("-".join(mutant.cell))
    )


def test_every_check_has_two_planted_bugs():
    planted = Counter(m.check for m in MUTANTS)
    assert set(planted) == set(NUMBERS)
    assert min(planted.values()) >= 2


@pytest.mark.parametrize("mutant", [grouped(m) for m in MUTANTS if m.check != 19])
def test_a_check_fails_on_its_bug(mutant):
    (verdict,) = judged(mutant)
    assert verdict.state == "failed", verdict.detail


@pytest.mark.contract
@pytest.mark.parametrize("mutant", [grouped(m) for m in MUTANTS if m.check != 19])
def test_other_checks_stay_green_beside_it(mutant):
    """All but its own and those that are named as seeing it too; 19 looks at other processes."""
    found = judged(mutant, [n for n in NUMBERS if n != 19])
    failed = {o.number: o.detail for o in found if o.state == "failed"}
    assert mutant.check in failed
    assert {n: why for n, why in failed.items() if n not in {mutant.check, *mutant.also}} == {}


@pytest.mark.contract
@pytest.mark.parametrize("mutant", [grouped(m) for m in MUTANTS if m.also])
def test_what_is_said_to_see_a_bug_too_does(mutant):
    found = judged(mutant, sorted(mutant.also))
    assert {o.number for o in found if o.state == "failed"} == mutant.also
