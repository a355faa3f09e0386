"""Budgets: what is read, what is refused, and that a budget is written as it is read."""

import pytest

from likeness.core.errors import BadConfig
from likeness.learn.budget import Budget


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("90s", Budget(seconds=90)),
        ("1.5h", Budget(seconds=5400)),
        ("1e3 steps", Budget(steps=1000)),
        (7, Budget(steps=7)),
        (7.0, Budget(steps=7)),
        ("1234567.5 epochs", Budget(epochs=1234567.5)),
    ],
)
def test_a_budget_is_read_and_written_as_it_is_read(text: object, found: Budget) -> None:
    assert Budget.parse(text) == found
    assert Budget.parse(str(found)) == found


@pytest.mark.parametrize(
    "text",
    ["0", "-1", "9" * 400, "9" * 5000, "1e99", "\u0663", "", "2 days", True, None, [5], 10**30],
)
def test_what_is_no_budget_is_refused_in_one_short_sentence(text: object) -> None:
    with pytest.raises(BadConfig, match="is no budget") as error:
        Budget.parse(text)
    assert len(str(error.value)) < 150
