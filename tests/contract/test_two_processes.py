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

pytestmark = pytest.mark.xdist_group("two processes")


@pytest.fixture(scope="module")
def apart():
    sound = [(name, nullcontext) for name in LEARNING]
    broken = [(bug.cell[0], bug.plant) for bug in BUGS]
    names = [*LEARNING, *(bug.name for bug in BUGS)]
    return dict(zip(names, two_processes(sound + broken), strict=True))


@pytest.mark.parametrize("family", LEARNING)
def test_two_processes_are_one(apart, family):
    assert apart[family] <= TOGETHER


@pytest.mark.parametrize("bug", BUGS, ids=str)
def test_the_check_fails_on_its_bug(apart, bug):
    assert apart[bug.name] > 100 * TOGETHER
