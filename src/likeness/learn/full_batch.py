"""L-BFGS on the whole training part, with an orthant-wise step where there is an l1 penalty."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor

from likeness.core.learner import FullBatch
from likeness.learn.executor import Event, Executor, Task

ARMIJO = 1e-4
SHRINK = 0.5
SEARCHES = 30


class FullBatchExecutor(Executor):
    """Minimise mean loss + l2/2 |w|^2 + l1 |w| (Liu & Nocedal 1989; OWL-QN: Andrew & Gao 2007, alg. 1)."""

    def __init__(self, task: Task, learner: FullBatch) -> None:
        super().__init__(task)
        self.learner = learner
        self.started = time.perf_counter()
        if learner.penalised is not None:
            chosen = learner.penalised
        else:
            chosen = learner.parameters
        # 1 where a parameter is penalised and 0 elsewhere (intercepts), (P,).
        ids = {id(p) for p in chosen}
        self.penalised = torch.cat(
            [torch.full((p.numel(),), float(id(p) in ids)) for p in learner.parameters]
        )
        self.penalised = self.penalised.to(task.model.dtype).to(task.model.device)
        # Curvature pairs s = w' - w and y = g' - g of the last iterations.
        self.steps: list[Tensor] = []
        self.changes: list[Tensor] = []
        self.value: float | None = None
        self.gradient: Tensor | None = None
        self.limit = task.decisions.get("steps") or task.budget.steps or learner.iterations

    @property
    def total(self) -> int | None:
        """The most iterations there will be."""
        return self.limit

    def step(self, phase: str | None = None) -> Event:
        """One direction and one line search."""
        w = self._weights()
        if self.value is None or self.gradient is None:
            self.value, self.gradient = self._objective(w)
        value = self.value
        # Under l1 the pseudo-gradient, else the gradient.
        g = self._pseudo(w, self.gradient)
        direction = self._direction(g)
        # OWL-QN: the direction must descend in every coordinate.
        if self.learner.l1 > 0:
            direction = torch.where(direction * g < 0, direction, torch.zeros_like(direction))
        # Backtracking line search; None where no step descends.
        move = self._search(w, value, g, direction)
        self.iteration += 1
        rise = 0.0 if move is None else value - move[1]
        if move is not None:
            # The pair (s, y) of this move updates the curvature.
            new, self.value, gradient = move
            self._remember(new - w, gradient - self.gradient)
            self.gradient = gradient
            self._assign(new)
        # Converged: a flat gradient, or no descent left.
        small = float(g.abs().max()) < self.learner.tolerance or rise <= 1e-15 * max(
            1.0, abs(value)
        )
        self._stop(stalled=small)
        return Event(
            self.iteration,
            "full batch",
            self.value,
            {"objective": self.value},
            {"gradient": float(g.norm())},
        )

    def _stop(self, *, stalled: bool) -> None:
        late = (
            self.task.budget.seconds is not None
            and time.perf_counter() - self.started > self.task.budget.seconds
        )
        limit = self.task.decisions.get("iterations", self.limit)
        replayed = "iterations" in self.task.decisions
        self.done = self.iteration >= limit or (not replayed and (stalled or late))
        if self.done:
            self.task.decisions["iterations"] = self.iteration

    def _objective(self, w: Tensor) -> tuple[float, Tensor]:
        """The penalised objective and the gradient of its smooth part."""
        self._assign(w)
        parameters = list(self.learner.parameters)
        total = 0.0
        weight = 0.0
        gradient = torch.zeros_like(w)
        # Sums over chunks of data: the objective is the weighted mean over all rows.
        for batch, noise in self.task.everything(self.learner.rows):
            terms = torch.stack(list(self.learner.loss(batch, noise).values())).sum(0)
            loss = (terms * batch.weights).sum()
            parts = torch.autograd.grad(loss, parameters, allow_unused=True)
            gradient += torch.cat(
                [
                    torch.zeros_like(p).reshape(-1) if g is None else g.reshape(-1)
                    for p, g in zip(parameters, parts, strict=True)
                ]
            )
            total = total + float(loss.detach())
            weight = weight + float(batch.weights.sum())
        # l2 enters value and gradient; l1 the value alone, as its gradient is the pseudo-gradient's.
        inside = w * self.penalised
        smooth = total / weight + 0.5 * self.learner.l2 * float(inside.square().sum())
        return smooth + self.learner.l1 * float(
            inside.abs().sum()
        ), gradient / weight + self.learner.l2 * inside

    def _pseudo(self, w: Tensor, g: Tensor) -> Tensor:
        """The steepest-descent direction's negative under l1 (Andrew & Gao 2007, eq. 4)."""
        # Subgradients: at w = 0 the one-sided derivative that descends, else g + l1 sign(w).
        l1 = self.learner.l1 * self.penalised
        if self.learner.l1 <= 0:
            return g
        at_zero = torch.where(
            g + l1 < 0, g + l1, torch.where(g - l1 > 0, g - l1, torch.zeros_like(g))
        )
        return torch.where(w == 0, at_zero, g + l1 * w.sign())

    def _direction(self, g: Tensor) -> Tensor:
        """-H g by the two-loop recursion."""
        q = g.clone()
        alphas = []
        # From the newest pair to the oldest.
        pairs = list(zip(self.steps, self.changes, strict=True))
        for s, y in reversed(pairs):
            alphas.append(s.dot(q) / s.dot(y))
            q = q - alphas[-1] * y
        # The initial Hessian: s'y / y'y of the newest pair (Nocedal & Wright, eq. 7.20).
        if pairs:
            s, y = pairs[-1]
            q = q * (s.dot(y) / y.dot(y))
        # And back from the oldest to the newest.
        for (s, y), alpha in zip(pairs, reversed(alphas), strict=True):
            q = q + (alpha - y.dot(q) / s.dot(y)) * s
        return -q

    def _search(
        self, w: Tensor, value: float, g: Tensor, direction: Tensor
    ) -> tuple[Tensor, float, Tensor] | None:
        """Backtracking until the decrease is sufficient; the first step is of unit length."""
        # Without curvature the first step has unit length.
        size = 1.0 if self.steps else 1.0 / max(1.0, float(g.norm()))
        # The orthant that l1 keeps the step in: coordinates that change sign become 0.
        orthant = torch.where(w == 0, -g.sign(), w.sign())
        for _ in range(SEARCHES):
            new = w + size * direction
            if self.learner.l1 > 0:
                new = torch.where(
                    (new * orthant > 0) | (self.penalised == 0), new, torch.zeros_like(new)
                )
            objective, gradient = self._objective(new)
            # Armijo's condition of sufficient decrease.
            if objective <= value + ARMIJO * float(g.dot(new - w)):
                return new, objective, gradient
            size *= SHRINK
        self._assign(w)
        return None

    def _remember(self, s: Tensor, y: Tensor) -> None:
        # Only pairs of positive curvature keep H positive definite.
        if float(s.dot(y)) > 1e-12 * float(y.dot(y)):
            self.steps = [*self.steps, s]
            self.changes = [*self.changes, y]
            self.steps = self.steps[-self.learner.memory :]
            self.changes = self.changes[-self.learner.memory :]

    def _weights(self) -> Tensor:
        return torch.cat([p.detach().reshape(-1) for p in self.learner.parameters])

    def _assign(self, w: Tensor) -> None:
        start = 0
        for p in self.learner.parameters:
            p.data.copy_(w[start : start + p.numel()].reshape(p.shape))
            start += p.numel()

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The curvature pairs, the last gradient, counters."""
        tensors = {f"step.{i}": s for i, s in enumerate(self.steps)} | {
            f"change.{i}": y for i, y in enumerate(self.changes)
        }
        if self.gradient is not None:
            tensors["gradient"] = self.gradient
        return tensors, {"iteration": self.iteration, "value": self.value, "done": self.done}

    def load(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Go on from `state`."""
        self.iteration = facts["iteration"]
        self.value = facts["value"]
        self.done = facts["done"]
        count = sum(k.startswith("step.") for k in tensors)
        self.steps = [tensors[f"step.{i}"].clone() for i in range(count)]
        self.changes = [tensors[f"change.{i}"].clone() for i in range(count)]
        if "gradient" in tensors:
            self.gradient = tensors["gradient"].clone()
        else:
            self.gradient = None
