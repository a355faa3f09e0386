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
        if self.parameters is None:
            noise = Noise(
                self.task.seed,
                torch.arange(max(self.task.rows, 1)),
                scope="start",
                dtype=self.task.model.dtype,
            )
            self.parameters = self.learner.start(self.task, noise)
        statistics = self._pass()
        objective = float(statistics["objective"] / statistics["weight"])
        if self.learner.decay is None:
            self.parameters = self.learner.maximise(statistics, self.parameters)
        self.learner.assign(self.parameters)
        self.iteration += 1
        rise = objective - self.objective
        self.objective = objective
        self._stop(rise)
        return Event(self.iteration, "em", -objective, {"objective": objective}, {"rise": rise})

    def _stop(self, rise: float) -> None:
        late = (
            self.task.budget.seconds is not None
            and time.perf_counter() - self.started > self.task.budget.seconds
        )
        replayed = "passes" in self.task.decisions
        converged = not replayed and (abs(rise) < self.learner.tolerance or late)
        limit = self.task.decisions.get("passes", self.limit)
        self.done = converged or self.iteration >= limit
        if self.done:
            self.task.decisions["passes"] = self.iteration

    def _pass(self) -> Parameters:
        assert self.parameters is not None
        if self.learner.known is not None:
            return self.learner.known(self.parameters)
        total: Parameters | None = None
        for i, (batch, _) in enumerate(self.task.everything(self.learner.rows)):
            part = self.learner.expect(batch, self.parameters)
            if total is None:
                total = part
            else:
                total = {k: total[k] + part[k] for k in total}
            if self.learner.decay is not None:
                self._stochastic(part, i)
        assert total is not None
        return total

    def _stochastic(self, part: Parameters, chunk: int) -> None:
        """Blend a chunk's mean statistics in at rate (t + 2)^-decay and maximise (Cappé & Moulines 2009, eq. 12)."""
        assert self.learner.decay is not None
        assert self.parameters is not None
        mean = {k: v / part["weight"] for k, v in part.items()}
        made = self.iteration * -(-self.task.rows // self.learner.rows) + chunk
        rate = (made + 2) ** -self.learner.decay
        known = self.running
        if known is None:
            self.running = mean
        else:
            self.running = {k: torch.lerp(known[k], mean[k], rate) for k in mean}
        scaled = {k: v * self.task.rows for k, v in self.running.items()}
        self.parameters = self.learner.maximise(scaled, self.parameters)

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
