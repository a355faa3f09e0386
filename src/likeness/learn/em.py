"""Expectation-maximisation over additive statistics, whole or stochastic; closed forms are one pass."""

from __future__ import annotations

import math
import time
from typing import Any

import torch
from torch import Tensor

from likeness.core.learner import EM, Parameters
from likeness.core.noise import Noise
from likeness.learn.executor import Event, Executor, Task


class EMExecutor(Executor):
    """One iteration is one pass; the objective per unit weight never falls (Dempster, Laird & Rubin 1977)."""

    def __init__(self, task: Task, learner: EM) -> None:
        super().__init__(task)
        self.learner = learner
        self.parameters: Parameters | None = None
        self.objective = -float("inf")
        self.running: Parameters | None = None
        self.started = time.perf_counter()
        if task.budget.epochs is None:
            epochs = None
        else:
            epochs = math.ceil(task.budget.epochs)
        # Passes: replayed, or the budget's, but never more than the learner's own limit.
        limit = task.decisions.get("steps") or task.budget.steps or epochs or learner.passes
        if task.decisions.get("steps") is None:
            self.limit = min(limit, learner.passes)
        else:
            self.limit = limit

    @property
    def total(self) -> int | None:
        """The most passes there will be."""
        return self.limit

    @torch.no_grad()
    def step(self, phase: str | None = None) -> Event:
        """One pass: statistics of every chunk, summed, then the parameters that are best for them."""
        # E-step over all rows.
        start = self._initial() if self.parameters is None else self.parameters
        statistics, parameters = self._pass(start)
        objective = float(statistics["objective"] / statistics["weight"])
        # M-step
        if self.learner.decay is None:
            parameters = self.learner.maximise(statistics, parameters)
        self.parameters = parameters
        self.learner.assign(parameters)
        self.iteration += 1
        rise = objective - self.objective
        self.objective = objective
        self._stop(rise)
        return Event(self.iteration, "em", -objective, {"objective": objective}, {"rise": rise})

    def _initial(self) -> Parameters:
        """The parameters before the first pass: drawn or computed by the learner."""
        rows = torch.arange(max(self.task.rows, 1))
        noise = Noise(self.task.seed, rows, scope="start", dtype=self.task.model.dtype)
        return self.learner.start(self.task, noise)

    def _stop(self, rise: float) -> None:
        # A budget in seconds ends EM between two passes.
        late = (
            self.task.budget.seconds is not None
            and time.perf_counter() - self.started > self.task.budget.seconds
        )
        # A replay makes as many passes as the first run did.
        replayed = "passes" in self.task.decisions
        converged = not replayed and (abs(rise) < self.learner.tolerance or late)
        limit = self.task.decisions.get("passes", self.limit)
        self.done = converged or self.iteration >= limit
        if self.done:
            self.task.decisions["passes"] = self.iteration

    def _pass(self, parameters: Parameters) -> tuple[Parameters, Parameters]:
        """The statistics of all chunks, summed, and the parameters, which stochastic EM moves chunk by chunk."""
        # A learner may know its statistics without a pass over data.
        if self.learner.known is not None:
            return self.learner.known(parameters), parameters
        # Sufficient statistics are additive over chunks.
        total: Parameters = {}
        for i, (batch, _) in enumerate(self.task.everything(self.learner.rows)):
            part = self.learner.expect(batch, parameters)
            total = {k: total[k] + v if k in total else v for k, v in part.items()}
            if self.learner.decay is not None:
                parameters = self._stochastic(part, i, self.learner.decay, parameters)
        return total, parameters

    def _stochastic(
        self, part: Parameters, chunk: int, decay: float, parameters: Parameters
    ) -> Parameters:
        """Blend a chunk's mean statistics in at rate (t + 2)^-decay and maximise (Cappé & Moulines 2009, eq. 12)."""
        # The chunk's statistics per unit weight.
        mean = {k: v / part["weight"] for k, v in part.items()}
        # Chunks done so far, over all passes.
        made = self.iteration * -(-self.task.rows // self.learner.rows) + chunk
        rate = (made + 2) ** -decay
        # A running average with decaying steps.
        before = self.running
        if before is None:
            self.running = mean
        else:
            self.running = {k: torch.lerp(before[k], mean[k], rate) for k in mean}
        # Back to the size of the data, as `maximise` expects.
        scaled = {k: v * self.task.rows for k, v in self.running.items()}
        return self.learner.maximise(scaled, parameters)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Parameters, running statistics, counters."""
        tensors = {f"em.{k}": v for k, v in (self.parameters or {}).items()}
        tensors |= {f"running.{k}": v for k, v in (self.running or {}).items()}
        finite = self.objective if self.iteration else None
        return tensors, {"iteration": self.iteration, "objective": finite, "done": self.done}

    def load(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Go on from `state`."""
        self.iteration = facts["iteration"]
        self.done = facts["done"]
        if facts["objective"] is None:
            self.objective = -float("inf")
        else:
            self.objective = facts["objective"]
        self.parameters = {
            k[3:]: v.clone() for k, v in tensors.items() if k.startswith("em.")
        } or None
        self.running = {
            k[8:]: v.clone() for k, v in tensors.items() if k.startswith("running.")
        } or None
