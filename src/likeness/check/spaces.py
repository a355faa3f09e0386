"""The twelve Spaces and five conditions of the contract suite, and for each pair a world whose entropy is known.

A cell's distribution depends on `given` through one of four classes (conditions.py), so that p(x | given) is
exact, also where `given` is missing in part or whole. Without `given` it is the distribution of class 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, partial

import torch
from torch import Tensor

from likeness.core.errors import BadConfig
from likeness.core.space import (
    Count,
    Nominal,
    Ordinal,
    Real,
    Space,
    Variable,
    binary,
    image,
    label,
    sequence,
    series,
    vector,
)
from likeness.data.synthetic import Condition, SyntheticClasses
from likeness.data.synthetic.columns import Block, Blocks, NormalColumn, TableColumn
from likeness.data.synthetic.conditions import condition
from likeness.data.synthetic.discrete import Tree
from likeness.data.synthetic.gaussian import GaussianMixture, lifted

CLASSES = 4
COUNTS = 256  # counts lie below this: the Poisson tables end there, at a mass of 1e-30 or less
HIDDEN = 0.2
SIGMAS = (1.0, 2.0, 0.5)
RESOLUTION = 0.25  # of a sigma
CATEGORIES = (2, 3, 4, 5)
MEANS = (1.0, 3.0, 8.0, 20.0)
_COLUMNS = ("length", "width", "height", "grade", "colour", "shape", "visits")
_MIXED: tuple[Variable, ...] = (
    *(Real(), Real(), Real()),
    Ordinal(levels=5),
    Nominal(categories=3),
    Nominal(categories=4),
    Count(),
)

SPACES: dict[str, Callable[[], Space]] = {
    "reals2": lambda: vector(2),
    "reals10": lambda: vector(10),
    "binary8": lambda: vector(8, binary()),
    "nominal4": lambda: vector(4, tuple(Nominal(categories=k) for k in CATEGORIES)),
    "counts4": lambda: vector(4, Count()),
    "table": lambda: vector(7, _MIXED, _COLUMNS),
    "rounded": lambda: vector(3, tuple(Real(resolution=RESOLUTION * s) for s in SIGMAS)),
    "image_binary": lambda: image(1, 8, 8, levels=2),
    "image_8bit": lambda: image(3, 8, 8),
    "symbols": lambda: sequence(5, 12),
    "series": lambda: series(3, 16),
    "audio": lambda: Space(
        axes=("channel", "time"), shape=(1, 64), variables=(Real(),), rate=8000.0, source="audio"
    ),
}

GIVENS: dict[str, Callable[[], Space | None]] = {
    "none": lambda: None,
    "label": lambda: label(CLASSES),
    "vector": lambda: vector(3),
    "image": lambda: image(1, 4, 4),
    "tokens": lambda: sequence(8, 6),
}


@cache
def cell(space: str, given: str = "none") -> SyntheticClasses:
    """The world of a cell: its data lie in that Space under that condition, and its entropy is known.

    Raises:
        BadConfig: If there is no such Space or condition.
    """
    for name, table in ((space, SPACES), (given, GIVENS)):
        if name not in table:
            raise BadConfig(f"no {name!r} among the cells", do=f"choose among {', '.join(table)}")
    told = None if given == "none" else condition(given, CLASSES)
    return _BUILDERS[space](space if told is None else f"{space} given {given}", told)


def _per_class(told: Condition | None, make: Callable[[int], Tensor]) -> Tensor:
    """One tensor for each class that the cell knows, stacked: (C, ...)."""
    return torch.stack([make(y).double() for y in range(1 if told is None else told.classes)])


# ---- reals: mixtures of Gaussians ----------------------------------------------------------------


def _plane(name: str, told: Condition | None) -> GaussianMixture:
    """Two correlated Gaussians a class, about a point of a circle."""

    # Means on a circle, a quarter turn a class, two components about each.
    def means(y: int) -> Tensor:
        centre = torch.tensor([math.cos(math.pi * y / 2), math.sin(math.pi * y / 2)]) * 1.2
        return centre + torch.tensor([[-0.9, 0.5], [0.9, -0.5]])

    cov = torch.tensor([[[0.35, 0.15], [0.15, 0.25]], [[0.2, -0.1], [-0.1, 0.4]]])
    mean = _per_class(told, means)
    classes = len(mean)
    return GaussianMixture(
        name,
        mean.flatten(0, 1),
        cov.repeat(classes, 1, 1),
        log_weights=torch.tensor([0.6, 0.4]).log().repeat(classes),
        of_class=torch.arange(classes).repeat_interleave(2),
        condition=told,
    )


def _reals10(name: str, told: Condition | None) -> GaussianMixture:
    """Two Gaussians a class over ten correlated reals."""
    return lifted(name, 10, _plane(name, told))


def _series(name: str, told: Condition | None) -> GaussianMixture:
    """x_t = m + A (x_t-1 - m) + e of three reals with a turning A and a stationary start: one Gaussian a class."""
    steps = torch.arange(16)
    lag = (steps[:, None] - steps).abs()
    turn = 0.5
    fade = 0.85
    angle = turn * (steps[:, None] - steps)
    cov = torch.zeros(16, 3, 16, 3, dtype=torch.float64)
    decay = fade ** lag.double()
    cov[:, 0, :, 0] = cov[:, 1, :, 1] = decay * angle.cos()
    cov[:, 0, :, 1] = -decay * angle.sin()
    cov[:, 1, :, 0] = decay * angle.sin()
    cov[:, 2, :, 2] = 0.6 ** lag.double()
    mean = _per_class(told, lambda y: torch.tensor([y - 1.5, -0.5 * y, 0.5 * (y % 2)]).repeat(16))
    return GaussianMixture(
        name,
        mean,
        cov.reshape(1, 48, 48).repeat(len(mean), 1, 1),
        space=SPACES["series"](),
        of_class=torch.arange(len(mean)),
        condition=told,
        lengths=(4, 16),
    )


def _audio(name: str, told: Condition | None) -> GaussianMixture:
    """A resonance in noise: x_t = 2 r cos(w) x_t-1 - r^2 x_t-2 + e, stationary, its frequency the class's."""

    # An AR(2)'s autocovariance from its impulse response, normalised to variance 1.
    def cov(y: int) -> Tensor:
        r = 0.9
        w = 0.4 + 0.5 * y
        k = torch.arange(600).double()
        response = (
            r**k * torch.sin(w * (k + 1)) / math.sin(w)
        )  # the impulse response; 0.9^600 is 4e-28
        lags = torch.stack([(response[: 600 - i] * response[i:]).sum() for i in range(64)])
        steps = torch.arange(64)
        return lags[(steps[:, None] - steps).abs()] / lags[0]

    covs = _per_class(told, cov)
    return GaussianMixture(
        name,
        torch.zeros(len(covs), 64),
        covs,
        space=SPACES["audio"](),
        of_class=torch.arange(len(covs)),
        condition=told,
    )


# ---- codes: trees --------------------------------------------------------------------------------


def _chain_of(count: int) -> tuple[int, ...]:
    return tuple(range(-1, count - 1))


def _binary8(name: str, told: Condition | None) -> Tree:
    """A chain of bits whose start and persistence are the class's."""

    def start(y: int) -> Tensor:
        return torch.tensor([[0.7, 0.3], [0.4, 0.6], [0.2, 0.8], [0.55, 0.45]][y : y + 1])

    def step(y: int) -> Tensor:
        stay = (0.85, 0.7, 0.8, 0.3)[y]
        return torch.tensor([[stay, 1 - stay], [1 - stay, stay]])

    root = _per_class(told, start).log()
    link = _per_class(told, step).log()
    return Tree(name, SPACES["binary8"](), _chain_of(8), (root,) + (link,) * 7, condition=told)


def _nominal4(name: str, told: Condition | None) -> Tree:
    """A chain of categories: each points to one of the next with probability about a half."""

    # The likeliest next category is (i + j + y) = 0 modulo K; the others lean slightly.
    def link(above: int, own: int, y: int) -> Tensor:
        i = torch.arange(above)[:, None]
        j = torch.arange(own)
        return (1.6 * ((i + j + y) % own == 0) + 0.3 * j / own).log_softmax(-1)

    tables = [
        _per_class(told, partial(link, above, own))
        for above, own in zip((1, *CATEGORIES), CATEGORIES, strict=False)
    ]
    return Tree(name, SPACES["nominal4"](), _chain_of(4), tuple(tables), condition=told)


def _counts4(name: str, told: Condition | None) -> Tree:
    """Poisson counts, each with a rate m_j (0.6 + 0.4 x_j-1 / m_j-1), so that their means are m; 1 to 20."""

    # A class's means are the others' in turn.
    def link(j: int, y: int) -> Tensor:
        means = MEANS[y:] + MEANS[:y]
        if j:
            above = torch.arange(COUNTS).double()[:, None]
        else:
            above = torch.zeros(1, 1)
        return poisson(means[j] * (0.6 + 0.4 * above / means[j - 1]) if j else above + means[0])

    tables = tuple(_per_class(told, partial(link, j)) for j in range(4))
    return Tree(name, SPACES["counts4"](), _chain_of(4), tables, condition=told)


def poisson(rate: Tensor) -> Tensor:
    """Log-probabilities of 0..255 under Poisson distributions cut there, rate (..., 1), (..., 256)."""
    k = torch.arange(COUNTS).double()
    return (k * rate.log() - torch.lgamma(k + 1)).log_softmax(-1)


def _raster(channels: int, height: int, width: int) -> tuple[int, ...]:
    """Parents of pixels: the same pixel of the channel before; in the first, the left one, else the one above."""

    def parent(c: int, i: int, j: int) -> int:
        place = (c * height + i) * width + j
        if c:
            return place - height * width
        if j:
            return place - 1
        if i:
            return place - width
        return -1

    return tuple(
        parent(c, i, j) for c in range(channels) for i in range(height) for j in range(width)
    )


def _image_binary(name: str, told: Condition | None) -> Tree:
    """Pixels that follow their left neighbour, with more ink in one quadrant, the class's."""

    # The class is the quadrant with more ink.
    def table(place: int, y: int) -> Tensor:
        inked = 2 * (place // 32) + place % 8 // 4 == y
        one = torch.tensor([0.5, 0.9] if inked else [0.15, 0.7])
        if place == 0:
            one = one[:1]
        return torch.stack([1 - one, one], -1).log()

    tables = tuple(_per_class(told, partial(table, place)) for place in range(64))
    return Tree(name, SPACES["image_binary"](), _raster(1, 8, 8), tables, condition=told)


def _image_8bit(name: str, told: Condition | None) -> Tree:
    """Levels that follow their left neighbour about a mean of the class, and channels that follow each other."""

    # A discretised normal about the neighbour's level, with a floor so that no level is impossible.
    def levels(slope: float, std: float, y: int) -> Tensor:
        mean = 88.0 + 27.0 * y
        level = torch.arange(256).double()
        if slope:
            centre = mean + slope * (level[:, None] - mean)
        else:
            centre = torch.full((1, 1), mean)
        body = (-0.5 * ((level - centre) / std).square()).softmax(-1)
        return (0.999 * body + 0.001 / 256).log()  # every level can be seen

    root, along, across = (
        _per_class(told, partial(levels, *p)) for p in ((0.0, 40.0), (0.9, 16.0), (0.95, 8.0))
    )
    parents = _raster(3, 8, 8)
    within = [along if j < 64 else across for j in range(len(parents))]
    tables = tuple(
        root if parent < 0 else table for parent, table in zip(parents, within, strict=True)
    )
    return Tree(name, SPACES["image_8bit"](), parents, tables, condition=told)


def _symbols(name: str, told: Condition | None) -> Tree:
    """A Markov chain of 5 symbols that mostly steps by one more than the class; lengths 1 to 12."""

    # Class y starts at symbol y and steps by y + 1.
    def start(y: int) -> Tensor:
        return torch.where(torch.arange(5) == y, 0.4, 0.15)[None].log()

    def step(y: int) -> Tensor:
        ahead = (torch.arange(5) - torch.arange(5)[:, None]) % 5 == y + 1
        return torch.where(ahead, 0.6, 0.1).log()

    root = _per_class(told, start)
    link = _per_class(told, step)
    return Tree(
        name,
        SPACES["symbols"](),
        _chain_of(12),
        (root,) + (link,) * 11,
        condition=told,
        lengths=(1, 12),
    )


# ---- columns: mixtures of products ---------------------------------------------------------------


def _marked(components: int) -> Tensor:
    """A column that names its component nine times in ten, log-probabilities (H, H)."""
    return (
        0.9 * torch.eye(components) + 0.1 * (1 - torch.eye(components)) / (components - 1)
    ).log()


def _leaning(components: int, y: int) -> Tensor:
    """Weights that lean to another component in each class, (H,)."""
    return torch.cos(torch.arange(components) - 1.5 * y).log_softmax(-1)


def _table(name: str, told: Condition | None) -> Blocks:
    """Colour with length, shape with visits, grade with width and height; a fifth of the entries missing."""

    # Means that shift with the class; columns that name their component.
    def normal(means: tuple[float, ...], shift: float, std: float) -> NormalColumn:
        mean = _per_class(told, lambda y: torch.tensor(means) + shift * y)
        return NormalColumn(mean, torch.full_like(mean, std))

    def marked(components: int) -> TableColumn:
        return TableColumn(_per_class(told, lambda _y: _marked(components)))

    def leaning(components: int) -> Tensor:
        return _per_class(told, partial(_leaning, components))

    visits = TableColumn(
        _per_class(told, lambda y: poisson(torch.tensor([[1.0], [4.0], [9.0], [16.0]]) + y))
    )
    blocks = (
        Block((4, 0), leaning(3), (marked(3), normal((-1.5, 0.0, 2.0), 0.5, 0.6))),
        Block((5, 6), leaning(4), (marked(4), visits)),
        Block(
            (3, 1, 2),
            leaning(5),
            (
                marked(5),
                normal((0.0, 1.0, 2.0, 3.0, 4.0), -0.4, 0.7),
                normal((3.0, 1.0, 0.0, 1.0, 3.0), 0.3, 0.5),
            ),
        ),
    )
    return Blocks(name, SPACES["table"](), blocks, condition=told, hidden=HIDDEN)


def _rounded(name: str, told: Condition | None) -> Blocks:
    """Two components of three rounded normals, exact bins."""
    signs = torch.tensor([[1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])

    # Bins a quarter of a sigma wide; signs differ by component.
    def column(j: int) -> NormalColumn:
        mean = _per_class(
            told, lambda y: SIGMAS[j] * (0.8 * signs[j] + 0.7 * math.cos(1.5 * y + j))
        )
        return NormalColumn(mean, torch.full_like(mean, 0.8 * SIGMAS[j]), RESOLUTION * SIGMAS[j])

    weights = _per_class(told, lambda _y: torch.tensor([0.65, 0.35]).log())
    return Blocks(
        name,
        SPACES["rounded"](),
        (Block((0, 1, 2), weights, tuple(column(j) for j in range(3))),),
        condition=told,
    )


_BUILDERS: dict[str, Callable[[str, Condition | None], SyntheticClasses]] = {
    "reals2": _plane,
    "reals10": _reals10,
    "binary8": _binary8,
    "nominal4": _nominal4,
    "counts4": _counts4,
    "table": _table,
    "rounded": _rounded,
    "image_binary": _image_binary,
    "image_8bit": _image_8bit,
    "symbols": _symbols,
    "series": _series,
    "audio": _audio,
}
