"""Every family on every Space under every condition keeps the contract, or refuses with its sentence."""

import os
import time
import warnings

import pytest

from likeness.check.cell import TRUTH, fitted, truth
from likeness.check.contract import checks, verdicts
from likeness.check.spaces import GIVENS, SPACES
from tests.contract.families import ANSWERS, CELLS, FAMILIES, TRUTHS, quick

MOST_SECONDS = 20.0  # of processor time a cell
DEAR = {
    "image_8bit": 30.0,
    "symbols": 30.0,
}  # 192 entries of 256 levels; sums over words of every length
NUMBERS = [
    c.number for c in checks() if c.number != 19
]  # two processes are started once for all families


def marked(cell):
    slow = () if quick(cell) else (pytest.mark.contract,)
    return pytest.param(
        cell, id="-".join(cell), marks=[*slow, pytest.mark.xdist_group("-".join(cell))]
    )


@pytest.mark.parametrize("cell", [marked(c) for c in TRUTHS + CELLS])
def test_cell(cell, record_property):
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = verdicts(truth(*cell[1:]) if cell[0] == TRUTH else fitted(*cell), NUMBERS)
    seconds = time.process_time() - start
    record_property("cell seconds", seconds)
    failed = [f"({o.number}) {o.detail}" for o in found if o.state == "failed"]
    assert not failed, "\n".join(failed)
    dearest = ", ".join(
        f"({o.number}) {o.seconds:.1f} s" for o in sorted(found, key=lambda o: -o.seconds)[:4]
    )
    if seconds > DEAR.get(cell[1], MOST_SECONDS):
        told = f"{'-'.join(cell)}: {seconds:.1f} s of processor time; {dearest}"
        assert os.environ.get("LIKENESS_COST") != "fail", told
        warnings.warn(told, stacklevel=1)


def test_there_are_twenty_checks():
    assert [c.number for c in checks()] == list(range(1, 21))


def test_there_are_twelve_spaces_under_five_conditions():
    assert (len(SPACES), len(GIVENS)) == (12, 5)


def test_a_refusal_is_a_sentence():
    refused = {cell: answer.why for cell, answer in ANSWERS.items() if not answer}
    assert all(len(why.split()) > 4 and why.isprintable() for why in refused.values())


NAMED = {"binary8", "nominal4", "counts4", "table", "image_binary", "symbols"}
TIMED = {"symbols", "series", "audio"}
REFUSED = {
    "gaussian": NAMED, "pca": NAMED, "kde": {"counts4", "table"}, "hmm": set(SPACES) - TIMED,
    "crf": set(SPACES) - {"symbols"}, "markov": {"counts4", "table", "image_8bit"},
    "linear_dynamical": set(SPACES) - TIMED | {"symbols"}, "topic": set(SPACES) - {"symbols", "counts4"},
    "bayes_net": {"counts4", "table", "image_8bit", "symbols", "series"}, "vi": set(SPACES),
}  # fmt: skip
CONDITIONS = {
    "discriminant": {"label"}, "crf": {"none", "label"},
    **{name: {"none"} for name in ("hmm", "markov", "linear_dynamical", "topic", "bayes_net")},
}  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
def test_a_cell_fits_where_its_space_and_its_condition_do(family):
    """Neither a Space nor a condition is refused for the other's sake, and the docs say which ones are."""
    taken = {(s, g) for s in SPACES for g in GIVENS if ANSWERS[family, s, g]}
    spaces, conditions = (
        set(SPACES) - REFUSED.get(family, set()),
        CONDITIONS.get(family, set(GIVENS)),
    )
    assert taken == {(s, g) for s in spaces for g in conditions}
