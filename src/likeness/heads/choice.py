"""Which head a variable gets: the one dictionary from variable types to heads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, cast

from likeness.core.space import Count, Nominal, Ordinal, Real, Space, Variable
from likeness.heads.base import Head
from likeness.heads.bernoulli import Bernoulli
from likeness.heads.categorical import Categorical
from likeness.heads.histogram import Histogram
from likeness.heads.logistic import DiscretisedLogistic
from likeness.heads.magnitude import Magnitude
from likeness.heads.normal import NormalMixture
from likeness.heads.poisson import NegativeBinomial, Poisson
from likeness.heads.spline import Spline
from likeness.heads.zero_inflated import ZeroInflatedPoisson

RealDistribution = Literal["mixture", "normal", "histogram", "spline", "log"]
CountName = Literal["negative_binomial", "poisson", "zero_inflated"]

_FEW = 16  # ordinal variables of at most so many levels are categorical for nets, too


@dataclass(frozen=True)
class Choice:
    """What decides between the heads that one type of variable may have.

    Args:
        closed: Whether parameters are estimated in closed form rather than put out by a net.
        components: Components of a mixture for one entry.
        real: The distribution of real entries.
        count: The distribution of counts.
        bins: The largest number of bins of a histogram, or the pieces of a spline.
        presence: Whether numbers are embedded with a bit of presence.
    """

    closed: bool
    components: int
    real: RealDistribution
    count: CountName
    bins: int
    presence: bool


@dataclass(frozen=True)
class Key:
    """Entries with equal keys share a head: its maker's name, and what keeps unlike entries apart."""

    maker: str
    room: int = 0


def _real(variable: Real, choice: Choice) -> Key:
    if (
        not choice.closed
        and variable.resolution is None
        and (_bounded(variable) or choice.real == "spline")
    ):
        return Key("spline")
    if choice.real == "log" and variable.resolution is None:
        return Key("magnitude")
    return Key(
        "histogram" if choice.real == "histogram" else "normal",
        int(variable.resolution is not None),
    )


def _codes(states: int) -> Key:
    """Categorical with room for 16, 32, 64, ... codes: entries that share a head are padded to the largest."""
    return Key("categorical", max(16, 1 << (states - 1).bit_length()))


def _ordinal(variable: Ordinal, choice: Choice) -> Key:
    if variable.levels == 2:
        return Key("bernoulli")
    if choice.closed or variable.levels <= _FEW:
        return _codes(variable.levels)
    return Key("logistic")


def _nominal(variable: Nominal, choice: Choice) -> Key:
    return _codes(variable.categories)


def _count(variable: Count, choice: Choice) -> Key:
    return Key(choice.count)


def _resolutions(variables: Sequence[Variable]) -> list[float] | None:
    widths = [cast(Real, v).resolution for v in variables]
    if widths[0] is None:
        return None
    return [cast(float, w) for w in widths]


def _bounds(variables: Sequence[Variable]) -> list[tuple[float | None, float | None]]:
    return [(real.lower, real.upper) for real in cast("Sequence[Real]", variables)]


def _make_normal(variables: Sequence[Variable], choice: Choice) -> Head:
    return NormalMixture(
        len(variables),
        components=1 if choice.real == "normal" else choice.components,
        resolution=_resolutions(variables),
        floor=1e-3 if choice.closed else 1e-4,
        presence=choice.presence,
    )


def _states(variables: Sequence[Variable]) -> list[int]:
    return [int(v.states) for v in variables]


# The one dictionary from variable types to heads: which key a variable has, and how a key's head is made.
KEYS: dict[str, Callable[..., Key]] = {
    "real": _real,
    "ordinal": _ordinal,
    "nominal": _nominal,
    "count": _count,
}
MAKERS: dict[str, Callable[[Sequence[Variable], Choice], Head]] = {
    "bernoulli": lambda v, c: Bernoulli(len(v), presence=c.presence),
    "categorical": lambda v, c: Categorical(_states(v), ordered=[x.type == "ordinal" for x in v]),
    "logistic": lambda v, c: DiscretisedLogistic(
        _states(v), components=c.components, presence=c.presence
    ),
    "normal": _make_normal,
    "histogram": lambda v, c: Histogram(
        len(v), bins=c.bins, resolution=_resolutions(v), bounds=_bounds(v), presence=c.presence
    ),
    "spline": lambda v, c: Spline(len(v), bins=c.bins, bounds=_bounds(v), presence=c.presence),
    "magnitude": lambda v, c: Magnitude(len(v), components=c.components, presence=c.presence),
    "negative_binomial": lambda v, c: NegativeBinomial(len(v), presence=c.presence),
    "poisson": lambda v, c: Poisson(len(v), presence=c.presence),
    "zero_inflated": lambda v, c: ZeroInflatedPoisson(len(v), presence=c.presence),
}


def grouped(variables: Sequence[Variable], choice: Choice) -> dict[Key, list[int]]:
    """Which entries share a head, in the order in which the heads are first needed."""
    groups: dict[Key, list[int]] = {}
    known: dict[Variable, Key] = {}
    for i, variable in enumerate(variables):
        key = known.get(variable) or known.setdefault(
            variable, KEYS[variable.type](variable, choice)
        )
        groups.setdefault(key, []).append(i)
    return groups


def _bounded(variable: Variable) -> bool:
    return variable.type == "real" and (variable.lower, variable.upper) != (None, None)


def bounds_refused(space: Space, *, closed: bool = False) -> str | None:
    """Why heads cannot have these reals within bounds, or None where they can.

    Heads of a net keep bounds by splines and histograms by a last bin, which know no rounding;
    others in closed form reach everywhere.
    """
    bounds = [cast(Real, v) for v in space.variables if _bounded(v)]
    if bounds and closed:
        return "its distribution of a real reaches beyond bounds: take autoregressive or flow, or leave the bounds out"
    if any(v.resolution is not None for v in bounds):
        why = "its distribution of a rounded real reaches beyond bounds"
        return f"{why}: take flow, or drop the bounds or the resolution"
    return None
