"""Mixtures of every distribution of counts keep the contract, not only those of the default."""

import warnings

import pytest

from likeness.check.cell import fit
from likeness.check.contract import checks, verdicts
from likeness.families.mixture import Mixture

NUMBERS = [c.number for c in checks() if c.number != 19]  # two processes say nothing of counts


@pytest.mark.parametrize("count", ["poisson", "zero_inflated"])
def test_mixtures_of_other_counts_keep_the_contract(count, monkeypatch):
    small = Mixture.small

    def other(cls, space):
        return small(space) | {"count": count}

    monkeypatch.setattr(Mixture, "small", classmethod(other))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cell = fit("mixture", "counts4", "none")
        found = verdicts(cell, NUMBERS)
    assert cell.law.config.count == count
    assert [f"({o.number}) {o.detail}" for o in found if o.state == "failed"] == []
