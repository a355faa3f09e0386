"""A cell: one family (or the truth) over one Space under one `given`, fitted once, with rows that it has not seen."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

import likeness.routes  # noqa: F401 - registers the ways of answering
from likeness import registry
from likeness.check.spaces import GIVENS, SPACES
from likeness.check.spaces import cell as world_of
from likeness.core.answers import Answer, Kind
from likeness.core.batch import Batch
from likeness.core.distribution import Distribution
from likeness.core.model import Model
from likeness.data.source import Table
from likeness.data.synthetic import SyntheticDistribution
from likeness.learn.run import Run

ROWS = 2000  # training rows, steps of a gradient learner, held-out rows for p-values
STEPS = 60
SCORED = 32
FIRST_HELD = 1_000_000
TRUTH = "truth"


@dataclass(eq=False)
class Cell:
    """What a check looks at.

    Args:
        family: The family's name, or "truth".
        space_name: One of the twelve.
        given_name: One of the five.
        law: Fitted, in double precision.
        world: What its rows come from.
        seed: Of everything that a check draws.
    """

    family: str
    space_name: str
    given_name: str
    law: Distribution
    world: SyntheticDistribution
    seed: int = 0

    @property
    def name(self) -> str:
        """What reports call it."""
        return f"{self.family}, {self.space_name}, {self.given_name}"

    @property
    def model(self) -> Model:
        """The distribution, where it is a model."""
        assert isinstance(self.law, Model)
        return self.law

    @property
    def given(self) -> bool:
        """Whether anything is given."""
        return self.law.given_space is not None

    @cached_property
    def kind(self) -> Kind | None:
        """The kind of log p of full rows, None where there is none."""
        if self.law.support("log_prob"):
            return self.law.log_prob(self.full(2), seed=0, effort=2).kind
        return None

    @property
    def exact(self) -> bool:
        """Whether log p of full rows is exact."""
        return self.kind is Kind.EXACT

    @property
    def effort(self) -> int | None:
        """Draws per item that a check can afford."""
        if self.exact:
            return None
        return 4

    def fewer(self, n: int) -> int:
        """How many of n rows a check can afford: fewer where an event has many entries."""
        dims = self.law.space.dims
        if dims <= 16:
            return n
        if dims <= 64:
            return n // 2
        return n // 6

    def asked(self, **options: Any) -> dict[str, Any]:
        """Settings of questions whose answers are compared with each other and need not be good: few particles."""
        return {"particles": 32, **options}

    def held(self, n: int) -> Batch:
        """n rows that the distribution has not seen, with holes where the world makes them."""
        return self.world.source(n, self.seed, first=FIRST_HELD).batch

    def full(self, n: int) -> Batch:
        """The same rows without their holes."""
        return _without_holes(self.world).source(n, self.seed, first=FIRST_HELD).batch

    def drawn(self, n: int, *, first: int = 0) -> Batch:
        """n rows drawn from the distribution, under the conditions of held-out rows where something is given."""
        if not self.given:
            return self.law.sample(n, seed=self.seed, first=first).batch
        return self.law.sample(1, given=self.full(n).given, seed=self.seed, first=first).batch

    def log_p(self, batch: Batch, *, effort: int | None = None, seed: int | None = None) -> Tensor:
        """log p of rows, (B,)."""
        asked = self.seed if seed is None else seed
        return self.law.log_prob(batch, seed=asked, effort=effort or self.effort).value

    def holed(self, batch: Batch, holes: int) -> Batch:
        """Rows with their first observed entries hidden, at most so many a row (none where only one is there)."""
        # The first entries by rank among the observed ones; a lone one stays.
        present = batch.present.flatten(1)
        rank = present.cumsum(-1)
        hidden = present & (rank <= holes) & (present.sum(-1, keepdim=True) > holes)
        return batch.hide(hidden.reshape(batch.x.shape))

    def again(self, law: Distribution) -> Cell:
        """The same cell with another distribution in it."""
        return Cell(self.family, self.space_name, self.given_name, law, self.world, self.seed)

    def seeded(self, seed: int) -> Cell:
        """The same cell, all draws of its checks under another seed."""
        return Cell(self.family, self.space_name, self.given_name, self.law, self.world, seed)


def _without_holes(world: SyntheticDistribution) -> SyntheticDistribution:
    whole = copy(world)
    whole.hidden = 0.0
    return whole


def truth(space: str, given: str, seed: int = 0) -> Cell:
    """The cell in which the world itself is the distribution."""
    world = world_of(space, given)
    return Cell(TRUTH, space, given, world, world, seed)


def unfitted(family: str, world: SyntheticDistribution, *, seed: int = 0) -> Model:
    """A new model of a family with its small Config, in double precision."""
    chosen = registry.family(family)
    model = registry.build(
        family, chosen.small(world.space), world.space, world.given_space, seed=seed
    )
    return model.to(torch.float64)


def learned(model: Model, source: Table, *, held: Table | None = None, seed: int = 0) -> Model:
    """The model after a fixed number of steps, its held-out scores kept for p-values."""
    run = Run(model, source, STEPS, seed)
    while not run.done:
        run.step()
    run.held = held  # after the last step, so that nothing is spent on validation
    return run.finish()


def fit(family: str, space: str, given: str, *, seed: int = 0) -> Cell:
    """A cell of its own: the family fitted anew."""
    world = world_of(space, given)
    held = world.source(SCORED, seed, first=2 * FIRST_HELD)
    model = learned(
        unfitted(family, world, seed=seed), world.source(ROWS, seed), held=held, seed=seed
    )
    return Cell(family, space, given, model, world, seed)


@cache
def fitted(family: str, space: str, given: str) -> Cell:
    """The cell that all checks of one process share."""
    return fit(family, space, given)


def cells_of(family: type[Model]) -> Iterator[tuple[str, str, Answer]]:
    """Every Space and `given` with the family's answer to whether it takes them."""
    for space, given in ((s, g) for s in SPACES for g in GIVENS):
        over = SPACES[space]()
        under = GIVENS[given]()
        config = family.Config.parse(family.small(over))
        yield space, given, family.accepts(config, over, under)


def _numpy_state() -> str:
    return str(np.random.get_state(legacy=False))


@contextmanager
def poisoned(seed: int) -> Iterator[None]:
    """Ambient generators seeded by `seed`.

    Raises:
        AssertionError: If what ran inside disturbed one.
    """
    # Ambient generators are seeded, compared after the body, and given back.
    kept = torch.get_rng_state(), np.random.get_state(), random.getstate()
    try:
        torch.default_generator.manual_seed(seed)
        np.random.seed(seed)
        random.seed(seed)
        before = torch.get_rng_state(), _numpy_state(), random.getstate()
        yield
        assert torch.equal(before[0], torch.get_rng_state()), "torch's ambient generator was used"
        assert before[1] == _numpy_state(), "NumPy's ambient generator was used"
        assert before[2] == random.getstate(), "Python's ambient generator was used"
    finally:
        torch.set_rng_state(kept[0])
        np.random.set_state(kept[1])
        random.setstate(kept[2])
