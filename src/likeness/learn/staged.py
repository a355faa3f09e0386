"""Stages one after the other: the second may learn what the first made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from likeness.core.learner import Learner, Staged
from likeness.learn.budget import Budget
from likeness.learn.executor import Event, Executor, Task


class StagedExecutor(Executor):
    """Each stage has its share of the budget and decisions of its own; it starts when the one before has finished."""

    def __init__(
        self, task: Task, learner: Staged, start: Callable[[Task, Learner], Executor]
    ) -> None:
        super().__init__(task)
        self.learner = learner
        self.start = start
        self.stage = 0
        # Each stage has its share of the budget, equal unless told.
        count = len(learner.stages)
        self.shares = tuple(learner.shares) or (1.0 / count,) * count
        self.child = self._open(0)

    def _open(self, stage: int) -> Executor:
        # A stage is a task of its own: its part of the budget, its rows, its seed, its decisions.
        name, make = self.learner.stages[stage]
        budget: Budget = self.task.budget.share(self.shares[stage])
        decisions = self.task.decisions.setdefault(name, {})
        source = self.learner.rows(stage, self.task.source)
        child = Task(self.task.model, source, budget, self.task.seed + stage, decisions)
        return self.start(child, make())

    @property
    def total(self) -> int | None:
        """Known once every stage's is; the last stage's otherwise."""
        return None

    def step(self, phase: str | None = None) -> Event:
        """One step of the stage at hand."""
        event = self.child.step(phase)
        self.iteration += 1
        # A finished stage leaves its result in the model; the next one prepares from there.
        if self.child.done:
            self.child.finish()
            self.stage += 1
            self.done = self.stage == len(self.learner.stages)
            if not self.done:
                self.child = self._open(self.stage)
        name = self.learner.stages[min(self.stage, len(self.learner.stages) - 1)][0]
        return Event(self.iteration, f"{name}/{event.phase}", event.loss, event.terms, event.facts)

    def answering(self, _use: bool) -> None:
        """As the stage at hand does."""
        self.child.answering(_use)

    def finish(self) -> None:
        """As the stage at hand does; finishing twice changes nothing."""
        self.child.finish()

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The stage and its own state."""
        tensors, facts = self.child.state()
        return tensors, {
            "iteration": self.iteration,
            "stage": self.stage,
            "done": self.done,
            "child": facts,
        }

    def load(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Go on from `state`."""
        self.iteration = facts["iteration"]
        self.stage = facts["stage"]
        self.done = facts["done"]
        if not self.done:
            self.child = self._open(self.stage)
            self.child.load(tensors, facts["child"])
