"""Bijections: invertible maps with the log-determinant of the direction taken."""

from likeness.bijections.affine import Affine, AffineStep
from likeness.bijections.autoregressive import Autoregressive
from likeness.bijections.base import Bijection, Chain, Step
from likeness.bijections.coupling import Coupling
from likeness.bijections.mixing import LU, Permutation
from likeness.bijections.spline import SplineStep

__all__ = [
    "LU",
    "Affine",
    "AffineStep",
    "Autoregressive",
    "Bijection",
    "Chain",
    "Coupling",
    "Permutation",
    "SplineStep",
    "Step",
]
