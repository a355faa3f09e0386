"""Heads: from numbers to a distribution over variables, one for each type, and `Columns` of them for a whole event."""

from likeness.heads.base import EntryDistribution, Head
from likeness.heads.bernoulli import Bernoulli
from likeness.heads.categorical import Categorical
from likeness.heads.columns import Column, Columns, ColumnsDistribution, HeadRows, rows
from likeness.heads.histogram import Histogram
from likeness.heads.logistic import DiscretisedLogistic
from likeness.heads.magnitude import Magnitude
from likeness.heads.normal import NormalMixture
from likeness.heads.poisson import NegativeBinomial, Poisson
from likeness.heads.spline import Spline
from likeness.heads.zero_inflated import ZeroInflatedPoisson

__all__ = [
    "Bernoulli",
    "Categorical",
    "Column",
    "Columns",
    "ColumnsDistribution",
    "DiscretisedLogistic",
    "EntryDistribution",
    "Head",
    "HeadRows",
    "Histogram",
    "Magnitude",
    "NegativeBinomial",
    "NormalMixture",
    "Poisson",
    "Spline",
    "ZeroInflatedPoisson",
    "rows",
]
