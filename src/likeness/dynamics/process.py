"""What differs between noise on reals and codes that are hidden: a Process learns, draws, scores and completes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from likeness.core.answers import Completed, Scored
from likeness.core.batch import Batch
from likeness.core.noise import Noise
from likeness.nets.timed import Conditioning

Watch = Callable[[Tensor], None]
DRAWN = 16  # draws of a bound where nobody asks for another number


class Process(nn.Module):
    """A way from data to noise and back. Methods see one batch in model units, and `conditioning` of it.

    Attributes:
        holes: Whether `score` answers rows with holes.
        summed: Whether `score` is exact and its states so few that sums over them answer all
            questions about missing entries.
    """

    holes: bool = False
    summed: bool = False

    @abstractmethod
    def loss(self, batch: Batch, noise: Noise, conditioning: Conditioning) -> dict[str, Tensor]:
        """The training loss, each term (B,)."""

    @abstractmethod
    def walk(
        self, noise: Noise, conditioning: Conditioning, settings: Any, watch: Watch | None = None
    ) -> Tensor:
        """Items (B, *E); `watch` sees them along the way."""

    @abstractmethod
    def score(
        self,
        batch: Batch,
        noise: Noise,
        conditioning: Conditioning,
        effort: int | None,
        settings: Any,
    ) -> Scored:
        """log p of what is observed."""

    @abstractmethod
    def complete(
        self,
        batch: Batch,
        noise: Noise,
        conditioning: Conditioning,
        n: int,
        settings: Any,
        cov: Tensor | None,
    ) -> Completed:
        """n draws of what is hidden; `cov`, (D, D) or (D,), is the covariance of the data as far as it is known."""

    @abstractmethod
    def effort(self, settings: Any) -> int:
        """Draws that log p of a row takes where nobody asks for another number, 0 where nothing is drawn."""

    def flow(self, x: Tensor, conditioning: Conditioning, *, back: bool) -> Tensor:
        """Data to noise of standard deviation 1 along an ODE, or back; only where there is one."""
        raise NotImplementedError

    @abstractmethod
    def evaluations(self, settings: Any) -> int:
        """Passes of the net for one item."""

    @abstractmethod
    def how(self, settings: Any) -> str:
        """How items are drawn."""


def many(n: int, noun: str) -> str:
    """A number of things, in words."""
    return f"{n} {noun}{'' if n == 1 else 's'}"
