"""Two processes learn what one learns: check 19, of all families and of its planted bugs in one pair of processes."""

from contextlib import nullcontext

import pytest

from likeness import registry
from likeness.check.checks_learning import TOGETHER, two_processes
from likeness.core.config import GradientConfig
from tests.contract.families import FAMILIES
from tests.contract.mutants import MUTANTS

LEARNING = [name for name in FAMILIES if issubclass(registry.FAMILIES[name].Config, GradientConfig)]
BUGS = [m for m in MUTANTS if m.check == 19]

QUICK = "flow"  # the one family that `make test` asks of

pytestmark = pytest.mark.xdist_group("two processes")


def gaps(families, bugs):
    """How far two processes end from one, of families as they are and of one with each bug."""
    sound = [(name, nullcontext) for name in families]
    broken = [(bug.cell[0], bug.plant) for bug in bugs]
    names = [*families, *(bug.name for bug in bugs)]
    return dict(zip(names, two_processes(sound + broken), strict=True))


@pytest.fixture(scope="module")
def apart():
    return gaps(LEARNING, BUGS)


def test_two_processes_are_one_and_a_bug_is_caught():
    found = gaps([QUICK], BUGS[:1])
    assert found[QUICK] <= TOGETHER
    assert found[BUGS[0].name] > 100 * TOGETHER


@pytest.mark.contract
@pytest.mark.parametrize("family", LEARNING)
def test_two_processes_are_one(apart, family):
    assert apart[family] <= TOGETHER


@pytest.mark.contract
@pytest.mark.parametrize("bug", BUGS, ids=str)
def test_the_check_fails_on_its_bug(apart, bug):
    assert apart[bug.name] > 100 * TOGETHER
