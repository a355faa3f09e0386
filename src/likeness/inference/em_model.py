"""Models fitted by EM: a family writes its initial parameters, its E-step and its M-step."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any, final

import torch
from torch import Tensor

from likeness.core.answers import Completed, Kind, Scored
from likeness.core.batch import Batch, missing, thinned
from likeness.core.learner import EM, Parameters
from likeness.core.model import Model
from likeness.core.noise import Noise
from likeness.core.space import Space
from likeness.inference.starts import best_start


class EMModel(Model):
    """A Model whose parameters are buffers that expectation-maximisation finds (Dempster, Laird & Rubin 1977).

    A family writes `_init`, `_e_step`, `_m_step` and `count`; `_starts` where there are several
    maxima to climb to, and `_canonical` where several parameters mean the same distribution. It
    calls `_declare` at the end of its `__init__`.
    """

    natural_dtype = torch.float64
    start_chunk: int = 1 << 14  # rows read at a time for those that starts are tried on
    parameter_names: tuple[str, ...] = ()

    # ---- what a family writes --------------------------------------------------------------------

    @abstractmethod
    def _init(self) -> Parameters:
        """Parameters before any data; each becomes a buffer."""

    @abstractmethod
    def _e_step(self, batch: Batch, params: Parameters) -> Parameters:
        """Expected sufficient statistics summed over rows, with "objective", their log-likelihood, and "weight"."""

    @abstractmethod
    def _m_step(self, sums: Parameters, before: Parameters) -> Parameters:
        """The parameters that maximise the expected log-likelihood of these statistics."""

    def _starts(self, batch: Batch, noise: Noise) -> Iterator[Parameters]:
        """Parameters to begin with; the likeliest after `trial` passes over these rows goes on."""
        yield self._init()

    @property
    def multimodal(self) -> bool:
        """Whether starts are compared; else EM begins at `_init`, and no rows are read for it."""
        return False

    def _canonical(self, params: Parameters) -> Parameters:
        """The parameters of the same distribution that the model keeps."""
        return params

    @property
    def iterative(self) -> bool:
        """Whether passes are repeated; where not, one finds the maximum."""
        return True

    @property
    def tolerance(self) -> float:
        """EM stops where a pass gains less, in nats a row."""
        gain: float = self.config.tolerance
        return gain

    @property
    def trial(self) -> int:
        """Passes that a start is judged by."""
        return 0

    @property
    def chunk_rows(self) -> int:
        """Rows in a chunk of a pass, a bound on memory."""
        return 8192

    def _stride(self, rows: int) -> int:
        """Starts are tried on every `stride`-th row."""
        return 1

    # ---- what EM makes of it ---------------------------------------------------------------------

    def _declare(self) -> None:
        """Register a buffer for each parameter."""
        params = self._init()
        self.parameter_names = tuple(params)
        for name, value in params.items():
            self.register_buffer(_buffer(name), value)

    def learner(self) -> EM:
        """EM from the best of several starts."""
        return EM(
            self._start,
            self._e_step,
            self._m_step,
            self._assign,
            passes=self.config.passes if self.iterative else 1,
            tolerance=self.tolerance,
            rows=self.chunk_rows,
        )

    def _start(self, task: Any, noise: Noise) -> Parameters:
        """The likeliest of several starts after a few passes over some of the rows."""
        if not self.multimodal:
            return self._init()
        batch = self._some(task)
        # Trial starts are judged on the same rows, a thinned part of the training data.
        return best_start(
            self._starts(batch, noise), partial(self._e_step, batch), self._m_step, self.trial
        )

    def _some(self, task: Any) -> Batch:
        """The rows that starts are tried on."""
        chunks = (batch for batch, _ in task.everything(self.start_chunk))
        return thinned(chunks, self._stride(task.rows))

    def _assign(self, params: Parameters) -> None:
        """Store the parameters in their buffers."""
        final = self._canonical(params)
        for name in self.parameter_names:
            buffer = getattr(self, _buffer(name))
            setattr(self, _buffer(name), final[name].to(buffer).contiguous())

    @property
    def fitted(self) -> Parameters:
        """The parameters, by the names that EM knows them by, in double precision."""
        return {name: _double(getattr(self, _buffer(name))) for name in self.parameter_names}

    # ---- what most families answer alike ---------------------------------------------------------

    def _marginal(self, batch: Batch) -> str | None:
        """Missing entries are summed over, whichever they are."""
        return None

    @property
    def inner_space(self) -> Space:
        """The Space of what the hooks see: x in model units."""
        if self.preprocessor is None:
            return self.space
        return self.preprocessor.out

    def _kind(self, otherwise: Kind = Kind.ESTIMATE) -> Kind:
        """EXACT, but for values that preprocessing draws within their bins."""
        if self.preprocessor is not None and self.preprocessor.stochastic:
            return otherwise
        return Kind.EXACT


class ExactEMModel(EMModel):
    """An EMModel whose log-densities and conditional draws are exact, whichever entries are missing.

    A family writes `_log_density` and `_draw` besides what EM needs.

    Attributes:
        drawn_how: A few words on how missing entries are drawn.
    """

    drawn_how: str = "exact conditional"

    @abstractmethod
    def _log_density(self, batch: Batch) -> Tensor:
        """log p of the observed entries of each row given its condition, nats, (B,)."""

    @abstractmethod
    def _draw(self, batch: Batch, noise: Noise) -> Tensor:
        """n times each row with its missing entries drawn, (n * B, *E), draw-major as the rows of noise are."""

    @property
    def scored_how(self) -> str:
        """A few words on how log p is computed."""
        return "closed form"

    @final
    def _log_prob(self, batch: Batch, noise: Noise, effort: int | None, settings: Any) -> Scored:
        value = self._log_density(batch).to(self.dtype)
        return Scored(value, Kind.EXACT, self.scored_how)

    def _sample(
        self, noise: Noise, given: Batch | None, length: Tensor | None, settings: Any
    ) -> Tensor:
        return self._draw(self._unknown(noise, given, length), noise)

    def _complete(self, batch: Batch, noise: Noise, n: int, settings: Any) -> Completed:
        x = self._draw(batch, noise.draws(n))
        return Completed(x.reshape(n, *batch.x.shape), self.drawn_how)

    def _unknown(self, noise: Noise, given: Batch | None, length: Tensor | None) -> Batch:
        """Rows of which only the condition is known, one for each row of noise."""
        rows = missing(self.inner_space, noise.rows, self._anchor)
        return replace(rows, given=given, index=noise.index)


def _buffer(name: str) -> str:
    """The buffer that keeps a parameter: names of buffers hold no dots."""
    return name.replace(".", "_")


def _double(value: Tensor) -> Tensor:
    return value.double() if value.is_floating_point() else value
