"""Conditions whose class is known: a label, a vector's signs, the inked quadrant of an image, a first token.

Vector, image and tokens tell one of four patterns q; the class is q modulo the number of classes (2
or 4).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from likeness.core.batch import Batch
from likeness.core.errors import BadConfig
from likeness.core.noise import Noise
from likeness.core.space import image, label, sequence, vector
from likeness.data.synthetic.base import Condition

IMPOSSIBLE = -400.0  # a log-likelihood that leaves no doubt and yet compares
ECHO = 0.7  # how often a later token repeats the first one's residue


def by_label(classes: int) -> Condition:
    """The class itself."""

    def draw(noise: Noise, y: Tensor) -> Batch:
        return Batch(y[:, None].to(noise.dtype), index=noise.index)

    def log_likelihood(given: Batch) -> Tensor:
        same = given.x.long() == torch.arange(classes)
        return torch.where(same | ~given.present, 0.0, -torch.inf).to(given.x.dtype)

    return Condition(label(classes), classes, draw, log_likelihood)


def by_vector(classes: int) -> Condition:
    """Three standard normals; the pattern is the signs of the first two."""
    signs = torch.tensor([[q & 1, q >> 1] for q in range(4)], dtype=torch.bool)

    def draw(noise: Noise, y: Tensor) -> Batch:
        c = noise.normal("given", 3)
        # Magnitudes from the normals, signs from the pattern.
        side = torch.where(signs[_pattern(noise, y, classes)], 1.0, -1.0)
        return Batch(torch.cat([c[:, :2].abs() * side, c[:, 2:]], -1), index=noise.index)

    def log_likelihood(given: Batch) -> Tensor:
        # A wrong sign rules a pattern out, (B, 4).
        x = given.x[:, None, :2]
        known = given.present[:, None, :2]
        wrong = ((x > 0) != signs) & known
        return _merged(torch.where(wrong, IMPOSSIBLE, 0.0).to(x.dtype).sum(-1), classes)

    return Condition(vector(3), classes, draw, log_likelihood)


def by_image(classes: int) -> Condition:
    """A 1x4x4 8-bit image; the pattern is its one bright quadrant (levels 128..255, elsewhere 0..63)."""
    place = torch.arange(4) // 2
    quadrant = (2 * place[:, None] + place).reshape(1, 1, 4, 4)
    bright = (
        quadrant == torch.arange(4)[:, None, None, None]
    )  # (4, 1, 4, 4): pixels of each pattern

    def draw(noise: Noise, y: Tensor) -> Batch:
        # Levels 128..255 where bright, 0..63 elsewhere, uniform.
        u = noise.uniform("given", 1, 4, 4)
        inked = bright[_pattern(noise, y, classes)]
        return Batch(
            torch.where(inked, 128 + (128 * u).floor(), (64 * u).floor()), index=noise.index
        )

    def log_likelihood(given: Batch) -> Tensor:
        x = given.x[:, None]
        known = given.present[:, None]
        # A pixel on the wrong side of 96 rules a pattern out.
        wrong = ((x >= 96) != bright) & known
        gain = torch.where(
            bright & known, -math.log(2), 0.0
        )  # 1/128 a bright level, 1/64 a dark one
        return _merged(
            (torch.where(wrong, IMPOSSIBLE, 0.0) + gain).to(x.dtype).flatten(2).sum(-1), classes
        )

    return Condition(image(1, 4, 4), classes, draw, log_likelihood)


def by_tokens(classes: int) -> Condition:
    """One to six tokens out of 8; the pattern is the first modulo 4, which later ones repeat 70 % of the time."""

    def draw(noise: Noise, y: Tensor) -> Batch:
        q = _pattern(noise, y, classes)[:, None]
        u = noise.uniform("given", 3, 6)
        # The first token always shows the pattern, later ones with chance ECHO.
        echoes = u[:, 0] < ECHO
        echoes[:, 0] = True
        residue = torch.where(echoes, q, (4 * u[:, 1]).long())
        length = 1 + (6 * noise.uniform("given length", 1)[:, 0]).long()
        x = (residue + 4 * (2 * u[:, 2]).long()).to(noise.dtype)
        return Batch(
            x.masked_fill(torch.arange(6) >= length[:, None], 0.0), length=length, index=noise.index
        )

    def log_likelihood(given: Batch) -> Tensor:
        # A later token agrees with chance ECHO + (1 - ECHO) / 4, else it is one of the other three.
        same = given.x.long()[..., None] % 4 == torch.arange(4)
        share = (1 - ECHO) / 4
        each = torch.where(same, math.log(ECHO + share), math.log(share))
        each[:, 0] = torch.where(same[:, 0], 0.0, IMPOSSIBLE)
        return _merged((each * given.present[..., None]).sum(1).to(given.x.dtype), classes)

    return Condition(sequence(8, 6), classes, draw, log_likelihood)


CONDITIONS: dict[str, Callable[[int], Condition]] = {
    "label": by_label,
    "vector": by_vector,
    "image": by_image,
    "tokens": by_tokens,
}


def condition(name: str | None, classes: int) -> Condition | None:
    """The condition of that name for so many classes; None for none.

    Raises:
        BadConfig: If there is no such condition, or it cannot tell so many classes.
    """
    if name is None:
        return None
    if name not in CONDITIONS:
        raise BadConfig(f"no condition {name!r}", do=f"choose among {', '.join(CONDITIONS)}")
    if name != "label" and classes not in {2, 4}:
        raise BadConfig(f"a {name} tells 2 or 4 classes, not {classes}", do="give the label")
    return CONDITIONS[name](classes)


def _pattern(noise: Noise, y: Tensor, classes: int) -> Tensor:
    """One of the patterns of each class, (B,)."""
    # 4 patterns in all; each class has 4 / classes of them.
    per_class = 4 // classes
    return y + classes * (noise.uniform("pattern", 1)[:, 0] * per_class).long()


def _merged(log_likelihood: Tensor, classes: int) -> Tensor:
    """Log-likelihoods of patterns (B, 4) summed over those of each class, (B, C)."""
    return log_likelihood.reshape(-1, 4 // classes, classes).logsumexp(1)
