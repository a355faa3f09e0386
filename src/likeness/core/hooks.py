"""What a distribution may override, and what it is over: the hooks see one checked batch in model units."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar, TypeVar, final

import torch
from torch import Tensor

from likeness.core.answers import Completed, Mode, Scored
from likeness.core.batch import Batch
from likeness.core.config import Settings as Asked
from likeness.core.errors import Unsupported
from likeness.core.noise import Noise
from likeness.core.overview import Overview, Shown
from likeness.core.preprocessor import Filler, Preprocessor
from likeness.core.row_distribution import RowDistribution
from likeness.core.space import Space
from likeness.numerics.stable import log_mean_exp

CLASSES_SUMMED = 64
SHOWN_NAMES = 8
F = TypeVar("F", bound=Callable[..., Any])


def absent(hook: F) -> F:
    """Mark a hook that a distribution does not have unless it overrides it."""
    hook.__absent__ = True  # type: ignore[attr-defined]
    return hook


class Hooks(Shown):
    """p(x) or p(x | given) over `space`.

    Attributes:
        space: What x is.
        given_space: What may be given, or None.
        codes: What `encode` speaks of, or None.
        preprocessor: The map to the reals that the hooks see, or None where they see data units.
        filler: The simple distribution that stands in for holes, or None where the hooks handle holes
            themselves.
        ends: Whether the distribution models the length of ragged items itself.
        conditional: Whether it says nothing without its condition: true of labels that are told
            from features.
        unbounded: Whether items may be longer than any that was seen: true of distributions that go on from
            step to step.
        default_effort: Monte-Carlo draws per item where nobody asks for another number.
        extent: The least and the largest value of each column that was learned from, (2, columns),
            or None.
        given_extent: The same of what is given.
    """

    Settings: ClassVar[type[Asked]] = Asked
    space: Space
    given_space: Space | None
    codes: Space | None
    preprocessor: Preprocessor | None
    filler: Filler | None
    extent: Tensor | None
    given_extent: Tensor | None
    default_effort: int = 1
    ends: bool = False
    unbounded: bool = False
    conditional: bool = False

    def overview(self) -> Overview:
        """What it is a distribution over, and what conditions it."""
        facts = {"items": _described(self.space)}
        if self.given_space is not None:
            facts["given"] = _described(self.given_space)
        return Overview(type(self).__name__, facts)

    def __init__(self, space: Space, given_space: Space | None = None) -> None:
        self.space = space
        self.given_space = given_space
        self.codes = None
        self.preprocessor = None
        self.filler = None
        self.extent = None
        self.given_extent = None

    # ---- hooks: one checked batch in model units -------------------------------------------------

    @absent
    def _sample(
        self, noise: Noise, given: Batch | None, length: Tensor | None, settings: Any
    ) -> Tensor:
        """One item for each row of noise, (B, *E) in model units."""
        raise NotImplementedError

    def _trajectory(
        self, noise: Noise, given: Batch | None, length: Tensor | None, settings: Any
    ) -> Tensor | None:
        """The items of `_sample` along the way, (B, T, *E), themselves last; None where they are not asked for."""
        return None

    @absent
    def _sample_ended(
        self, noise: Noise, given: Batch | None, settings: Any
    ) -> tuple[Tensor, Tensor]:
        """Items of a distribution that models their end, and their lengths (B,); only where `ends` is set."""
        raise NotImplementedError

    @absent
    def _log_prob(self, batch: Batch, noise: Noise, effort: int | None, settings: Any) -> Scored:
        """log p of each row in model units; holes only where `_marginal` says that they may come."""
        raise NotImplementedError

    @absent
    def _complete(self, batch: Batch, noise: Noise, n: int, settings: Any) -> Completed:
        """n draws of each row's hidden entries given the others; use noise.draws(n)."""
        raise NotImplementedError

    @absent
    def _mode(self, batch: Batch, settings: Any) -> Mode:
        """The most probable hidden entries of each row."""
        raise NotImplementedError

    @absent
    def _encode(
        self, batch: Batch, noise: Noise, effort: int | None, settings: Any
    ) -> RowDistribution:
        """The distribution of each row's code."""
        raise NotImplementedError

    @absent
    def _critic_score(self, batch: Batch, noise: Noise) -> Tensor:
        """How far from data a critic holds each row, (B,): larger is stranger, in units of its own."""
        raise NotImplementedError

    @absent
    def _decode(self, z: Tensor, given: Batch | None, index: Tensor) -> RowDistribution:
        """The distribution of x for each code."""
        raise NotImplementedError

    def _pooled(self, values: Tensor, settings: Any) -> tuple[Tensor, Tensor | None]:
        """One value and its error from K draws of log p, (K, B): the log of the mean where exp of each has mean p."""
        return log_mean_exp(values)

    def _marginal(self, batch: Batch) -> str | None:
        """Why `_log_prob` does not answer these holes itself, or None where it does."""
        return "missing entries are left to a route"

    def _why_not(self, verb: str) -> str | None:
        """Why this very model has no such verb, though it has the hook, or None."""
        return None

    def class_prior(self) -> Tensor:
        """p(y) over the classes of a nominal `given`, (K,)."""
        k = (self.given_space.label if self.given_space else None) or 1
        return torch.full((k,), 1.0 / k, dtype=self.dtype)

    def draw_length(self, noise: Noise, given: Batch | None) -> Tensor | None:
        """The lengths of new items of a ragged space, int64 (B,), which may follow from what is given."""
        return None

    def evaluations(self, settings: Any) -> int:
        """Network evaluations that one drawn item costs."""
        return 1

    def how(self, verb: str, settings: Any) -> str:
        """A few words on how a verb is answered."""
        return "own distribution"

    @property
    def condition_space(self) -> Space:
        """What is given, for those who cannot go on without it.

        Raises:
            Unsupported: Where nothing may be given.
        """
        if self.given_space is None:
            raise Unsupported(
                "this model was fitted without `given`", do="fit again with lk.fit(..., given=...)"
            )
        return self.given_space

    @property
    def code_space(self) -> Space:
        """What `encode` speaks of.

        Raises:
            Unsupported: Where there are no codes.
        """
        if self.codes is None:
            raise Unsupported(f"{type(self).__name__} has no codes")
        return self.codes

    @property
    def measure(self) -> str:
        """What log p is taken against."""
        return self.space.measure

    @property
    def dtype(self) -> torch.dtype:
        """The type the distribution computes in."""
        return torch.float64

    @property
    def device(self) -> torch.device:
        """Where the distribution computes."""
        return torch.device("cpu")

    def asking(self) -> AbstractContextManager[Any]:
        """What surrounds every answer: a model stops its dropout."""
        return nullcontext()

    @final
    def sums_classes(self) -> bool:
        """Whether a missing `given` is a label that is summed over: one of few enough classes."""
        classes = self.given_space.label if self.given_space else None
        return classes is not None and classes <= CLASSES_SUMMED

    @final
    def has(self, hook: str) -> bool:
        """Whether the distribution has a hook of its own."""
        return not hasattr(getattr(type(self), hook), "__absent__")


def _described(space: Space) -> str:
    """An item in words, with the names of its first columns."""
    names = list(space.names or ())
    if not names:
        return space.item
    more = ["..."] if len(names) > SHOWN_NAMES else []
    return f"{space.item}: {', '.join([*names[:SHOWN_NAMES], *more])}"
