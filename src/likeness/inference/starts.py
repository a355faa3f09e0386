"""EM climbs to the nearest maximum: the best of several starts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from likeness.core.learner import Parameters


def best_start(
    starts: Iterable[Parameters],
    e_step: Callable[[Parameters], Parameters],
    m_step: Callable[[Parameters, Parameters], Parameters],
    passes: int,
) -> Parameters:
    """The likeliest of several starts after a few passes of EM over the same rows.

    Args:
        starts: Parameters to begin with.
        e_step: Parameters -> sufficient statistics of the rows, "objective" and "weight" among them.
        m_step: (statistics, parameters before) -> parameters.
        passes: By which a start is judged; the first start is taken where there are none.
    """
    # The start with the highest log-likelihood after its trial passes; NaN never wins.
    best = Parameters()
    height = -math.inf
    for start in starts:
        params, likelihood = _climb(start, e_step, m_step, passes)
        if not best or likelihood > height:
            best = params
            height = -math.inf if math.isnan(likelihood) else likelihood
    return best


def _climb(
    params: Parameters,
    e_step: Callable[[Parameters], Parameters],
    m_step: Callable[[Parameters, Parameters], Parameters],
    passes: int,
) -> tuple[Parameters, float]:
    """Parameters after some passes, and the log-likelihood per unit weight before the last of them."""
    likelihood = -math.inf
    for _ in range(passes):
        sums = e_step(params)
        params = m_step(sums, params)
        likelihood = float(sums["objective"] / sums["weight"])
    return params, likelihood
