"""The contract suite: what every family promises, checked on twelve Spaces under five conditions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from likeness.core.face import callable_module

if TYPE_CHECKING:
    from likeness.check.contract import Report
    from likeness.core.model import Model


def check(
    model: type[Model],
    *,
    spaces: Sequence[str] | None = None,
    givens: Sequence[str] | None = None,
    numbers: Sequence[int] | None = None,
) -> Report:
    """Every applicable check on every cell that a family accepts, as a report that is true where nothing failed.

    Args:
        model: The family's class, registered or not.
        spaces: Names of Spaces, all twelve where None.
        givens: Names of conditions ("none" among them), all five where None.
        numbers: Which checks, all twenty where None.
    """
    from likeness.check.contract import check_model

    return check_model(model, spaces=spaces, givens=givens, numbers=numbers)


callable_module(__name__, check)
