"""Ways of answering one verb from others; importing this package registers them all."""

from likeness.routes import (
    bayes,
    conformal,
    critic,
    density,
    enumerate_states,
    particles,
    reconstruct,
)

__all__ = [
    "bayes",
    "conformal",
    "critic",
    "density",
    "enumerate_states",
    "particles",
    "reconstruct",
]
