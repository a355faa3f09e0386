"""A Run carries out a model's learner: a step at a time if you like, watched, stopped, resumed with the same bits."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from likeness.core.errors import LikenessError
from likeness.core.learner import EM, FullBatch, Gradient, Learner, Staged
from likeness.core.model import Model
from likeness.core.noise import Noise
from likeness.core.overview import Overview, Shown
from likeness.core.precision import products
from likeness.core.preprocessor import Source
from likeness.learn import checkpoint, scoring
from likeness.learn.budget import Budget
from likeness.learn.checkpoint import Best
from likeness.learn.em import EMExecutor
from likeness.learn.executor import Event, Executor, Task
from likeness.learn.full_batch import FullBatchExecutor
from likeness.learn.gradient import GradientExecutor
from likeness.learn.place import Place
from likeness.learn.staged import StagedExecutor
from likeness.learn.stop import Stop

SAVE_EVERY = 20.0  # seconds
VALIDATIONS = 20

_EXECUTORS: dict[type[Any], Callable[[Task, Any], Executor]] = {
    Gradient: GradientExecutor,
    EM: EMExecutor,
    FullBatch: FullBatchExecutor,
}


def execute(task: Task, learner: Learner) -> Executor:
    """The executor of a learner."""
    if type(learner) is Staged:
        return StagedExecutor(task, learner, execute)
    return _EXECUTORS[type(learner)](task, learner)


class Run(Shown):
    """Learning in progress.

    Args:
        model: A new model; its statistics are taken from `data` now.
        data: The training part, or None for a loss from a density alone.
        budget: "2m", "500 steps", "10 epochs" or a Budget.
        seed: Of row order and training noise.
        holdout: The held-out part that validation and p-values use, or None.
        out: A folder for checkpoints, metrics and the model, or None; no other fit writes there
            meanwhile.
        decisions: What the clock decided in an earlier run, once finished, to be replayed.
        resume: Go on from the folder's checkpoint, if it has one; a fit that is finished there is
            not begun again.

    Raises:
        BadStore: If what is in the folder is truncated, or of other data, another seed, family,
            options or budget.
        LikenessError: If another fit writes there.
    """

    def __init__(
        self,
        model: Model,
        data: Source | None,
        budget: str | int | Budget,
        seed: int = 0,
        *,
        holdout: Source | None = None,
        out: str | Path | None = None,
        decisions: dict[str, Any] | None = None,
        resume: bool = False,
    ) -> None:
        self.model = model
        self.seed = seed
        self.held = holdout if holdout is not None and len(holdout) else None
        # Several processes: only the first one writes.
        self.place = None if out is None else Place(Path(out))
        self.finished = resume and self.place is not None and self.place.finished
        model.source = data
        # A failure while preparing must leave the folder free.
        with self._released(after_errors_only=True), products("fp32"):
            if self.place is not None and not self.finished:
                self.place.claim()
            # Statistics of the training split: lengths, class prior, preprocessing.
            # Resuming too: what a model keeps of the data outside its state is in no checkpoint.
            self._prepare(data)
            self.task = Task(model, data, Budget.parse(budget), seed, dict(decisions or {}))
            self.begin()
            self.best = Best()
            self.events = list[Event]()
            self.saved_at = time.perf_counter()
            self.saved = 0  # steps in the checkpoint
            self._whole = True  # no step is in the middle
            if self.place is not None:
                self._enter(self.place, resume=resume)

    def begin(self) -> None:
        """Carry out the learner from its first step."""
        self.executor = execute(self.task, self.model.learner())

    @contextmanager
    def _released(self, *, after_errors_only: bool = False) -> Iterator[None]:
        """Let others write into the folder afterwards."""
        done = False
        try:
            yield
            done = after_errors_only
        finally:
            if self.place is not None and not done:
                self.place.release()

    def _enter(self, place: Place, *, resume: bool) -> None:
        """Go on from what the folder holds, or begin there."""
        if self.finished:
            checkpoint.reopen(self, place)
        elif resume and place.unfinished:
            checkpoint.resume(self, place)
            self.saved = self.iteration
            place.enter()
            place.trim(self.iteration)
        else:
            place.enter()
            place.start()

    def _prepare(self, data: Source | None) -> None:
        if data is None:
            return
        if len(data) == 0:
            raise LikenessError("there are no rows to learn from", do="give data, or hold out less")
        self.model.prepare(data)

    def overview(self) -> Overview:
        """How far it is, and what it measured last."""
        total = self.executor.total
        of = "" if total is None else f" of {total:,}"
        facts = {"steps": f"{self.iteration:,}{of}{', done' if self.done else ''}"}
        if self.events:
            facts["loss"] = f"{self.events[-1].loss:.4f}"
        return Overview(f"Run of {type(self.model).__name__}", facts)

    @property
    def iteration(self) -> int:
        """Steps done."""
        return self.executor.iteration

    @property
    def decisions(self) -> dict[str, Any]:
        """What the clock decided: replay with `decisions=`."""
        return self.task.decisions

    @property
    def done(self) -> bool:
        """Whether the budget is spent or the learner has converged."""
        return self.executor.done

    def step(self, phase: str | None = None) -> Event:
        """One iteration, or one move of one phase; validated and saved when due."""
        self._whole = False
        # Single precision products are one process-wide switch, set for the step.
        with products("fp32"):
            event = self.executor.step(phase)
            if self._due():
                validation = self.validate()
                event = replace(event, validation=validation)
                self._judge(event.iteration, validation)
        # Logged before saving, as a checkpoint counts its events.
        self.events.append(event)
        if self.place is not None:
            self.place.append(event)
        self._whole = True
        if (
            self.place is not None
            and time.perf_counter() - self.saved_at > SAVE_EVERY
            and not self.done
        ):
            self.save()
        return event

    def _due(self) -> bool:
        # EM and full-batch learners minimise the training objective itself and need no validation.
        total = self.executor.total
        if self.held is None or total is None or type(self.executor) is not GradientExecutor:
            return False
        if self.iteration < self.decisions.get(
            "decided_at", 0
        ):  # a replay knows the total before the clock told it
            return False
        return self.done or self.iteration % max(1, total // VALIDATIONS) == 0

    def _judge(self, iteration: int, validation: float) -> None:
        """Keep the best state; stop after `patience` validations without progress."""
        self.best.since += 1
        # The averaged weights are what will answer, so they are what is kept.
        if validation < self.best.value:
            with self._answering():
                state = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
            self.best = Best(validation, iteration, 0, state)
        # Early stopping, if the Config has patience.
        patience = getattr(self.model.config, "patience", 0)
        if patience and self.best.since >= patience:
            self.executor.done = True

    @contextmanager
    def _answering(self) -> Any:
        self.executor.answering(True)
        try:
            yield
        finally:
            self.executor.answering(False)

    def validate(self) -> float:
        """The mean criterion on the whole held-out part, by the parameters that answer questions."""
        if self.held is None:
            raise LikenessError("nothing is held out to validate on", do="fit with holdout=0.1")
        total = weight = 0.0
        # The weighted mean over held-out rows, in evaluation mode.
        with self._answering(), torch.no_grad(), self.model.asking():
            for batch in self.held.chunks(4096):
                there = self.model.held(batch)
                noise = Noise(self.seed, there.ids, scope="validate", dtype=self.model.dtype)
                total += float((self.model.criterion(there, noise) * there.weights).sum())
                weight += float(there.weights.sum())
        return total / weight

    def fit(self, watch: Callable[[Run, Event], None] | None = None) -> Model:
        """Exhaust the budget; leave the best parameters in the model; save it where there is a folder.

        There, what was learned is saved too when the fit is stopped: by an error, by Ctrl-C, by a
        termination, or by the closing of the terminal.
        """
        with self._released(), self._stopping() as stop:
            # An error or a signal ends the loop; what was learned until then is saved.
            try:
                while not self.done:
                    event = self.step()
                    if watch is not None:
                        watch(self, event)
                    stop.check()
            except BaseException as error:
                self._keep(error)
                raise
            model = self.finish()
            stop.check()
            return model

    def _stopping(self) -> Stop | nullcontext[Stop]:
        """Where there is a folder, signals wait for the end of a step."""
        if self.place is None:
            return nullcontext(Stop())
        return Stop()

    def _keep(self, error: BaseException) -> None:
        """Save what was learned, where there is a folder, unless a step was left in the middle."""
        if self.place is None or not self.iteration:
            return
        if self._whole or isinstance(error, LikenessError):
            with suppress(LikenessError):  # what stopped the fit is said, often the same full disk
                self.save()

    def finish(self) -> Model:
        """The averaged, best state in the model, with held-out scores for p-values."""
        if self.finished:
            return self.model.eval()
        # 1. Averages become the weights.
        self.executor.finish()
        # 2. The best validated state replaces a later, worse one.
        if self.best.state is not None and self.best.iteration < self.iteration:
            self.model.load_state_dict(self.best.state)
        self.model.eval()
        self.model.source = None
        # 3. Held-out anomaly scores, for conformal p-values.
        if self.held is not None:
            scoring.keep_scores(
                self.model,
                self.held,
                seed=self.seed,
                seconds=self.task.budget.seconds,
                decisions=self.decisions,
            )
        # 4. What the saved model says of its own fit.
        self.model.facts = {
            **getattr(self.model, "facts", {}),
            **self._facts(),
            "remarks": self._remarks(),
        }
        if self.place is not None:
            self.place.finish(self.model)
        return self.model

    def _remarks(self) -> list[str]:
        """What the model says of itself, looking at held-out rows, or at its own where none are held out."""
        rows = self.task.source if self.held is None else self.held
        # One row has no spread to remark on.
        if rows is None or len(rows) < 2:
            return []
        with products("fp32"):
            return list(self.model.remarks(scoring.rows_of(rows, scoring.ALONE_ROWS)))

    def _facts(self) -> dict[str, Any]:
        data = self.task.source
        layout = getattr(data, "layout", None)
        return {
            **({} if layout is None else {"series": layout.series, "times": list(layout.times)}),
            "decisions": self.decisions,
            "seed": self.seed,
            "budget": str(self.task.budget),
            "iterations": self.iteration,
            "data": {
                "rows": self.task.rows,
                "name": getattr(data, "name", ""),
                "hash": checkpoint.hash_of(data),
            },
        }

    # ---- checkpoints -----------------------------------------------------------------------------

    def save(self) -> None:
        """A checkpoint: model, executor, best state, counters, decisions, in one file written whole.

        Raises:
            LikenessError: If there is no folder, or it cannot be written to.
        """
        if self.place is None:
            raise LikenessError("there is no folder to save in", do="give the run one: out=...")
        self.place.keep(*checkpoint.of(self))
        self.saved = self.iteration
        self.saved_at = time.perf_counter()
