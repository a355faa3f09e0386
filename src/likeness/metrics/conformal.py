"""p-values with a guarantee, from scores of held-out items, and the share of false discoveries among many."""

import math

import torch
from torch import Tensor

from likeness.core.errors import BadData


def conformal_p_value(score: Tensor, held_out: Tensor, *, uniforms: Tensor | None = None) -> Tensor:
    """p-value of each score among held-out scores, where larger is stranger.

    p = (1 + #{s_i >= s}) / (n + 1): P(p <= a) <= a whenever the item is exchangeable with the
    held-out ones, whatever the score. With uniforms, p = (#{s_i > s} + u (1 + #{s_i = s})) / (n +
    1) is uniform exactly, but random. Vovk et al. 2005, Algorithmic Learning in a Random
    SyntheticDistribution, chapter 2.

    Args:
        score: Scores to judge, (B,).
        held_out: Scores of items that were not trained on, (n,).
        uniforms: In [0, 1), (B,), to break ties; None leaves the conservative form.

    Returns:
        p-values in (0, 1], float64, (B,).
    """
    score = _finite(score)
    # How many held-out scores reach the item's, (B,).
    ranked = _finite(held_out).sort().values
    n = len(ranked)
    reaching = n - torch.searchsorted(ranked, score)
    if uniforms is None:
        return (1 + reaching).double() / (n + 1)
    # Ties are broken by the uniforms.
    beyond = n - torch.searchsorted(ranked, score, right=True)
    return (beyond + uniforms.double() * (1 + reaching - beyond)) / (n + 1)


def conformal_threshold(held_out: Tensor, *, alarm: float) -> float:
    """Score that a new exchangeable item exceeds with probability at most `alarm`; infinite where n is too small.

    The ceil((n + 1)(1 - alarm))-th smallest held-out score. Vovk et al. 2005; Lei et al. 2018,
    arXiv:1604.04173.
    """
    ranked = _finite(held_out).sort().values
    # Without the small slack (n + 1)(1 - alarm) could exceed a whole number by rounding.
    rank = math.ceil((len(ranked) + 1) * (1 - alarm) - 1e-9)
    if 1 <= rank <= len(ranked):
        return float(ranked[rank - 1])
    return math.copysign(math.inf, rank - 0.5)


def adjusted_p_value(p: Tensor) -> Tensor:
    """Smallest false discovery rate at which each item would be reported, (B,): min over larger p of B p_(i) / i.

    Benjamini & Hochberg 1995, doi:10.1111/j.2517-6161.1995.tb02031.x.
    """
    p = _finite(p)
    # p_(i) B / i in rising order of p, then the running minimum from the largest down.
    ranked, order = p.sort()
    raw = ranked * len(p) / torch.arange(1, len(p) + 1, device=p.device)
    least = raw.flip(0).cummin(0).values.flip(0).clamp(max=1)
    return torch.empty_like(p).scatter_(0, order, least)


def benjamini_hochberg(p: Tensor, *, rate: float) -> Tensor:
    """Items reported as strange, bool (B,), so that at most `rate` of them are false ones in expectation.

    Holds for the conservative form of `conformal_p_value`, although these share their held-out
    scores (Bates et al. 2023, arXiv:2104.08279).
    """
    return adjusted_p_value(p) <= rate


def _finite(x: Tensor) -> Tensor:
    """Float64, (B,); infinite scores rank as they should, NaN raises."""
    x = x.detach().double().flatten()
    if len(x) == 0 or bool(x.isnan().any()):
        raise BadData("scores are absent or NaN")
    return x
