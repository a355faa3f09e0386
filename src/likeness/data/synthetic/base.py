"""What every world shares: a Distribution whose truth is known, and which class of it a condition chooses."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, final

import torch
from torch import Tensor

from likeness.core import inputs
from likeness.core.answers import Completed, Posterior, Scored
from likeness.core.batch import Batch, missing
from likeness.core.distribution import Distribution
from likeness.core.errors import Unsupported
from likeness.core.noise import Noise
from likeness.core.overview import Overview
from likeness.core.space import Space
from likeness.data.source import Table
from likeness.numerics.constants import HALF_LOG_2PI
from likeness.numerics.draws import inverse_cdf

HALF_LOG_2PI_E = HALF_LOG_2PI + 0.5


def pick(log_p: Tensor, u: Tensor) -> Tensor:
    """An index for each row by inverse CDF: log_p (B, K) up to a constant, u (B,) in [0, 1); int64 (B,)."""
    return inverse_cdf(log_p.softmax(-1).cumsum(-1), u)


class SyntheticDistribution(Distribution):
    """A distribution whose log p, entropy, score and sampler are known.

    They are known in closed form, by quadrature or by enumeration.

    Args:
        name: What reports call it.
        space: What x is.
        given_space: What is given, or None.
        method: How log p is computed, in words.
        lengths: The shortest and longest item of a ragged space; lengths are uniform between them.
        hidden: The rate at which `source` hides entries, at random.
        blind: Why rows with holes cannot be answered, or None where they can.
    """

    def __init__(
        self,
        name: str,
        space: Space,
        given_space: Space | None = None,
        *,
        method: str = "closed form",
        lengths: tuple[int, int] | None = None,
        hidden: float = 0.0,
        blind: str | None = None,
    ) -> None:
        super().__init__(space, given_space)
        self.name = name
        self.method = method
        self.lengths = lengths
        self.hidden = hidden
        self.blind = blind

    @abstractmethod
    def _density(self, batch: Batch) -> Tensor:
        """log p of what is observed given what is given, nats, (B,), differentiable in x."""

    @abstractmethod
    def _entropy(self) -> float:
        """E[-log p] of what `source` shows, nats."""

    def _draw_given(self, noise: Noise) -> Batch:
        """A condition for each row."""
        raise NotImplementedError

    @final
    @cached_property
    def entropy(self) -> float:
        """E[-log p(x | given)] over (x, given) as `source` draws them, in nats, to 1e-6.

        Of a ragged space, given length; of a space with holes, of what is observed.
        """
        return self._entropy()

    @final
    def score(self, x: Any, *, given: Any = None) -> Tensor:
        """The gradient of log p(x | given) in x, (B, *E), 0 where hidden.

        Raises:
            Unsupported: Where x is not real.
        """
        if not self.space.real or self.space.counted:
            raise Unsupported(f"{self.name} has no score: its entries are not all real")
        batch = inputs.batch_of(self, x, given)
        # The score by automatic differentiation of log p.
        with torch.enable_grad():
            leaf = batch.x.detach().clone().requires_grad_()
            value = self._density(replace(batch, x=leaf))
            if not value.requires_grad:  # a density that is constant where it is not 0
                return torch.zeros_like(leaf)
            return torch.autograd.grad(value.sum(), leaf)[0]

    @final
    def source(self, n: int, seed: int, *, first: int = 0) -> Table:
        """Items first..first+n-1 of this seed, with what they were given, as rows to learn from."""
        # One index an item: the same numbers whatever part of the source is asked for.
        noise = Noise(seed, torch.arange(first, first + n), scope="source", dtype=self.dtype)
        # The condition first, x given it.
        if self.given_space is None:
            given = None
        else:
            given = self._draw_given(noise)
        if given is None:
            draws = self.sample(n, seed=seed, first=first)
            x = draws.x
            length = draws.length
        else:
            draws = self.sample(1, given=given, seed=seed)
            x = draws.x[0]
            length = None if draws.length is None else draws.length[0]
        batch = Batch(x, length=length, given=given, index=noise.index)
        # Missing completely at random.
        if self.hidden:
            batch = batch.hide(noise.uniform("hidden", *self.space.layout) < self.hidden)
        return Table(self.space, batch, self.given_space, self.name)

    def draw_length(self, noise: Noise, given: Batch | None) -> Tensor | None:
        """Uniform between the shortest and the longest length."""
        if self.lengths is None:
            return None
        low, high = self.lengths
        return low + (noise.uniform("length", 1)[:, 0] * (high - low + 1)).long()

    def how(self, verb: str, settings: Any) -> str:
        """The truth's own words."""
        return f"the truth, {self.method}"

    def overview(self) -> Overview:
        """Its name, what it is over, and its entropy."""
        over = super().overview()
        return Overview(str(self), {**over.facts, "answers": self.method})

    def __str__(self) -> str:
        """The name and the entropy."""
        if self.given_space is None:
            given = ""
        else:
            given = ", given its condition"
        return f"{self.name}: entropy {self.entropy:.6f} nats{given}"

    @final
    def _log_prob(self, batch: Batch, noise: Noise, effort: int | None, settings: Any) -> Scored:
        return Scored(self._density(batch), how=self.method)

    def _marginal(self, batch: Batch) -> str | None:
        return self.blind

    def _why_not(self, verb: str) -> str | None:
        if verb == "complete":
            return self.blind
        if verb == "encode" and self.codes is None:
            return f"{self.name} has no codes"
        return None


@dataclass(frozen=True)
class Condition:
    """What is given, as evidence of a class: the class is a function of a fully known condition.

    Args:
        space: What is given.
        classes: The number of classes C.
        draw: (noise, y (B,)) -> a condition of each class.
        log_likelihood: given -> log p(what is observed of it | y), up to a constant of the row, (B,
            C).
    """

    space: Space
    classes: int
    draw: Callable[[Noise, Tensor], Batch]
    log_likelihood: Callable[[Batch], Tensor]


class SyntheticClasses(SyntheticDistribution):
    """p(x | y) with a class y that `given` tells: p(x | given) = sum over y of p(y | what is known of given) p(x | y).

    Args:
        name: What reports call it.
        space: What x is.
        condition: What is given; None for one class and nothing given.
        prior: p(y), (C,); uniform unless told.
        method: How log p is computed, in words.
        lengths: The shortest and longest item of a ragged space.
        hidden: The rate at which `source` hides entries.
        blind: Why rows with holes cannot be answered, or None.
    """

    def __init__(
        self,
        name: str,
        space: Space,
        *,
        condition: Condition | None = None,
        prior: Tensor | None = None,
        method: str = "closed form",
        lengths: tuple[int, int] | None = None,
        hidden: float = 0.0,
        blind: str | None = None,
    ) -> None:
        given_space = None if condition is None else condition.space
        super().__init__(
            name, space, given_space, method=method, lengths=lengths, hidden=hidden, blind=blind
        )
        self.condition = condition
        self.classes = 1 if condition is None else condition.classes
        if prior is None:
            self.prior = torch.full((self.classes,), 1.0 / self.classes, dtype=self.dtype)
        else:
            self.prior = prior

    @abstractmethod
    def _score_class(self, batch: Batch, y: Tensor) -> Tensor:
        """log p(x observed | y), (B,)."""

    @abstractmethod
    def _fill(self, batch: Batch, y: Tensor, noise: Noise) -> Tensor:
        """What is hidden drawn given what is observed and y, (B, *E); all of it where nothing is observed."""

    @abstractmethod
    def _class_entropy(self, y: int) -> float:
        """The entropy of p(x | y), nats."""

    def class_prior(self) -> Tensor:
        """p(y), (C,)."""
        return self.prior

    @final
    def class_posterior(self, x: Any, *, given: Any = None) -> Posterior:
        """p(y | x, what is known of given) by Bayes' rule in closed form."""
        batch = inputs.batch_of(self, x, given)
        with torch.no_grad():
            logits = self._class_given_all(batch).log_softmax(-1)
        return Posterior(logits, Scored(logits).kind, self.how("classify", None))

    def _log_class(self, given: Batch | None, rows: int) -> Tensor:
        """log p(y | what is known of given), (B, C)."""
        if self.condition is None or given is None:
            return self.prior.log().expand(rows, -1)
        # Bayes: p(y) p(given | y), normalised.
        return (self.prior.log() + self.condition.log_likelihood(given)).log_softmax(-1)

    def _class_given_all(self, batch: Batch) -> Tensor:
        """log p(y, x observed | given), (B, C)."""
        each = [
            self._score_class(batch, torch.full_like(batch.ids, y)) for y in range(self.classes)
        ]
        return torch.stack(each, -1) + self._log_class(batch.given, len(batch))

    def _density(self, batch: Batch) -> Tensor:
        # A condition that settles the class needs one density instead of C.
        sure, y = self._log_class(batch.given, len(batch)).max(-1)
        if bool((sure > -1e-12).all()):
            return self._score_class(batch, y)
        return self._class_given_all(batch).logsumexp(-1)

    def _sample(
        self, noise: Noise, given: Batch | None, length: Tensor | None, settings: Any
    ) -> Tensor:
        # y from p(y | given), then x from p(x | y).
        y = pick(self._log_class(given, noise.rows), noise.uniform("class", 1)[:, 0])
        nothing = missing(self.space, noise.rows, self.prior)
        return self._fill(replace(nothing, length=None), y, noise)

    def _complete(self, batch: Batch, noise: Noise, n: int, settings: Any) -> Completed:
        wide = batch.repeat(n)
        many = noise.draws(n)
        # y from p(y | given, x_o), then the hidden entries from p(. | y, x_o).
        y = pick(self._class_given_all(batch).repeat(n, 1), many.uniform("class", 1)[:, 0])
        x = self._fill(wide, y, many)
        return Completed(
            x.reshape(n, len(batch), *x.shape[1:]), f"the truth's own conditional, {self.method}"
        )

    def _draw_given(self, noise: Noise) -> Batch:
        assert self.condition is not None
        y = pick(self.prior.log().expand(noise.rows, -1), noise.uniform("class", 1)[:, 0])
        return self.condition.draw(noise, y)

    def _entropy(self) -> float:
        return sum(p * self._class_entropy(y) for y, p in enumerate(self.prior.tolist()) if p > 0)
