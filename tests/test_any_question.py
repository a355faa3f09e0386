"""Any question of five variables: every subset, every verb, by brute force on each fitted law's own joint.

The questions and the brute force are those of `python -m bench.questions`, which prints the table of docs/questions.md.
"""

import functools
import warnings

import pytest
import torch

from bench import questions
from bench.brute import SUBSETS, D
from bench.verbs import Case, Row, answers
from likeness.core.answers import Kind

EXACT = 1e-6  # what an answer that calls itself exact may lie off
KNOWN = 1e-5  # the most that brute force's own error may add
ERRORS, BEYOND = (
    5.0,
    0.02,
)  # the suite's own bound; and the share that may lie beyond 3, where 0.003 is expected
QUICK = (
    "gaussian/truth",
    "bayes_net/truth",
    "gaussian/gaussian",
    "bayes_net/mixture",
    "bayes_net/autoregressive",
    "bayes_net/diffusion",
    "gaussian/gaussian/label",
)
ALL_EXACT = ("gaussian/gaussian", "bayes_net/mixture")
DEAR = tuple(name for name in questions.plan() if name not in QUICK)


@functools.cache
def asked(name: str) -> tuple[Case, list[Row]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few particles: the table prints how few
        case = questions.plan()[name]()
        return case, answers(case)


def judge(case: Case, row: Row) -> None:
    told = f"{case.world}, {case.name}, {row.verb}"
    for off, known in zip(row.exact, row.known, strict=True):
        allowed = EXACT + min(
            known, KNOWN
        )  # two lattices disagree by far more than their mean is off
        assert off <= allowed, (
            f"{told}: exact, and {off:.2g} off; brute force knows it to {known:.2g}"
        )
    if row.verb == "mode" and case.name in ("the truth", "mixture"):
        assert max(row.loose, default=0.0) <= EXACT, (
            f"{told}: {max(row.loose):.2g} nats below the highest peak"
        )
    below = Kind.LOWER_BOUND not in row.kinds  # a bound may lie below by more than its error
    worst = max((abs(e) if below else e for e in row.errors), default=0.0)
    assert worst <= ERRORS, f"{told}: {worst:.2f} standard errors off"
    beyond = sum((abs(e) if below else e) > 3 for e in row.errors)
    assert beyond <= 2 + BEYOND * len(row.errors), (
        f"{told}: {beyond} of {len(row.errors)} beyond 3 standard errors"
    )


def case_of(name: str):
    """One that is asked about twice is asked on one worker, which keeps its answers."""
    marks = [pytest.mark.xdist_group("all exact" if name in ALL_EXACT else name)]
    if name not in QUICK:
        marks.append(pytest.mark.slow)
    return pytest.param(name, marks=marks)


@pytest.mark.parametrize("name", [case_of(name) for name in (*QUICK, *DEAR)])
def test_every_subset_under_every_verb(name):
    case, rows = asked(name)
    for row in rows:
        judge(case, row)
        whole = (
            31 if row.verb in ("sample", "log_prob of the rest, given", "classify a column") else 32
        )
        if case.most == D and not row.refused:
            assert len(row.asked) == whole, row.verb


@pytest.mark.xdist_group("all exact")
def test_exact_families_call_every_answer_exact():
    """But for the mode of several peaks."""
    for name in ALL_EXACT:
        _, rows = asked(name)
        assert {k for row in rows for k in row.kinds} == {Kind.EXACT}, name


def test_brute_force_is_right_where_the_truth_is_known():
    """The lattices, which see whole rows only, against marginals and conditional means in closed form."""
    closed, case = questions.mixture(), questions.truth_case("mixture5", rows=1)
    x = case.rows[0]
    for known in SUBSETS:
        found = case.brute(x, known)
        assert found.log_p == pytest.approx(
            float(closed.log_density(x[None], sorted(known))), abs=1e-7
        )
        hidden = [i for i in range(D) if i not in known]
        near = closed.conditional(x, sorted(known))
        mean = near.log_w.exp() @ near.mean
        assert torch.allclose(found.mean(found.x[:, hidden])[0], mean, rtol=0, atol=1e-5)
