"""Stochastic gradients: steps of each phase in turn, averages of the weights, one or several processes."""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from likeness.core.batch import Batch, concat
from likeness.core.config import GradientConfig
from likeness.core.errors import LikenessError
from likeness.core.learner import Gradient, Phase
from likeness.core.noise import Noise, generator
from likeness.core.precision import arithmetic, fastest, products
from likeness.core.preprocessor import Source
from likeness.learn.executor import Event, Executor, Task, terms_of
from likeness.learn.optimisers import optimisers

ORDER = zlib.crc32(b"row order")
PIECE = 1 << 28  # bytes that rows keep for their gradients, beyond which a step goes piece by piece
FEW = 4  # rows that tell what each keeps
CALIBRATE = 0.04  # share of a wall budget spent before the number of steps is decided
SLOW = 3  # first steps, which pay for allocations and are not those that the rest will cost
VALIDATING = 0.1  # share of a wall budget that validation may cost
MARKS = 8  # times in a wall budget that the pace is looked at again
SLACK = 0.1  # share of the steps left by which the end must have moved to be decided anew


class GradientExecutor(Executor):
    """One iteration moves every phase that is due; the row order and noise of step t are functions of (seed, t)."""

    def __init__(self, task: Task, learner: Gradient) -> None:
        super().__init__(task)
        config = learner.config or task.model.config
        self.config: GradientConfig = config
        self.phases = {p.name: p for p in learner.phases}
        self.moves = dict.fromkeys(self.phases, 0)
        # One optimiser a phase, each with its own parameters.
        self.optimisers = {
            p.name: optimisers(list(p.parameters), config, p.betas) for p in learner.phases
        }
        self.averaged = list(task.model.named_parameters())
        # Exponential moving average of all parameters, if asked for.
        if config.ema > 0:
            self.shadow = [p.detach().clone() for _, p in self.averaged]
        else:
            self.shadow = []
        self.started = time.perf_counter()
        self.spent = self.warm = 0.0
        self.mark = (0.0, 0)  # seconds spent and steps done when the pace was last looked at
        self._orders: dict[int, Tensor] = {}
        self._pieces: dict[str, int] = {}
        # Preprocessors with parameters (variational dequantisation) learn along.
        inputs = task.model.preprocessor
        self.learned_inputs = inputs is not None and any(
            p.requires_grad for p in inputs.parameters()
        )
        # The number of steps: replayed, stated, or left to the clock.
        total = task.decisions.get("steps") or task.budget.total(
            task.rows or config.batch, config.batch
        )
        if total is not None:
            task.decisions.setdefault("steps", total)
            task.decisions.setdefault("decided_at", 0)
        task.decisions.setdefault("precision", self._precision())

    @property
    def total(self) -> int | None:
        """The steps there will be, once decided, as last decided by now."""
        return self._plan()[-1][1]

    def _plan(self) -> list[tuple[int, int | None]]:
        """What was decided by now: when, and on how many steps."""
        decided = self.task.decisions
        first = (decided.get("decided_at", self.iteration), decided.get("steps"))
        return [
            first,
            *((at, steps) for at, steps in decided.get("revised", ()) if at <= self.iteration),
        ]

    def _precision(self) -> str:
        """The Config's choice; auto measures where the budget is a time, so that a budget in steps replays itself."""
        if self.config.precision != "auto":
            return self.config.precision
        if self.task.budget.seconds is None:
            return "fp32"
        # One gradient in each precision, timed on real rows.
        phase = next(iter(self.phases.values()))
        batch, noise = self._rows(0)

        def trial() -> None:
            torch.autograd.grad(
                self._loss(phase, batch, noise, len(batch))[0],
                list(phase.parameters),
                allow_unused=True,
            )

        return fastest(trial, self.task.model.device)

    # ---- one step --------------------------------------------------------------------------------

    def step(self, phase: str | None = None) -> Event:
        """Every phase that is due, or one move of the one that is named."""
        # Phases take turns by their periods: a critic five times for one generator move, say.
        if phase:
            chosen = [self.phases[phase]]
        else:
            chosen = [p for p in self.phases.values() if self.iteration % p.every == 0]
        players = [player for player in chosen for _ in range(1 if phase else player.repeat)]
        events = [self._move(player) for player in players]
        self.iteration += 1
        self._average()
        self._decide()
        self.done = self.total is not None and self.iteration >= self.total
        return events[-1]

    def _move(self, phase: Phase) -> Event:
        # Each phase counts its own moves, so that its rows do not depend on the others.
        move = self.moves[phase.name]
        self.moves[phase.name] += 1
        self.task.model.progress = self._done()
        batch, noise = self._rows(
            move, zlib.crc32(phase.name.encode()) if len(self.phases) > 1 else 0
        )
        model = self.task.model
        if not model.training:
            model.train()
        # Gradients of the whole batch, in pieces where memory requires.
        value, gradients, terms = self._summed(phase, batch, noise)
        # NaN and infinity stop the fit; the best state so far is kept.
        if not math.isfinite(value):
            raise LikenessError(
                f"the loss of phase {phase.name!r} is {value}",
                where=f"iteration {self.iteration + 1}",
                do="lower lr, or look at the data for extreme values; the last good state is kept",
            )
        facts = {"lr": self._lr(), **self._descend(phase, gradients)}
        if phase.after is not None:
            phase.after(move)
        return Event(self.iteration + 1, phase.name, value, terms_of(terms, batch.weight), facts)

    def _summed(
        self, phase: Phase, batch: Batch, noise: Noise
    ) -> tuple[float, list[Tensor | None], dict[str, Tensor]]:
        """The loss, its gradients and its terms (B,), summed over as many rows at a time as memory allows."""
        # The loss is a sum over rows divided by the weight of all, so pieces add up exactly.
        size = self._piece(phase, batch, noise)
        whole = _everywhere(batch)
        value = 0.0
        total: list[Tensor | None] = []
        terms: list[dict[str, Tensor]] = []
        for start in range(0, len(batch), size):
            rows = slice(start, start + size) if size < len(batch) else slice(None)
            # Forward and backward pass in the precision that was decided.
            with arithmetic(self.task.decisions["precision"], self.task.model.device):
                loss, part = self._loss(phase, batch[rows], noise[rows], whole)
            with products(self.task.decisions["precision"]):
                gradients = torch.autograd.grad(loss, list(phase.parameters), allow_unused=True)
            value += float(loss.detach())
            total = _plus(total, gradients)
            terms.append(part)
        return value, total, {name: torch.cat([p[name] for p in terms]) for name in terms[0]}

    def _piece(self, phase: Phase, batch: Batch, noise: Noise) -> int:
        """Rows whose loss is computed at once: those that keep `PIECE` bytes, all where a phase says nothing."""
        if phase.row_bytes is None:
            return max(1, len(batch))
        # Measured once a phase, on a few rows.
        if phase.name not in self._pieces:
            few = slice(0, FEW)
            with torch.no_grad():
                inside, _ = self.task.model.inputs(batch[few], noise[few], self.config.drop_given)
            each = phase.row_bytes(inside, noise[few])
            self._pieces[phase.name] = max(1, PIECE // max(each, 1))
        return self._pieces[phase.name]

    def _loss(
        self, phase: Phase, batch: Batch, noise: Noise, whole: Tensor | int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        # The preprocessor needs gradients only where it learns.
        with torch.set_grad_enabled(self.learned_inputs):
            inside, correction = self.task.model.inputs(batch, noise, self.config.drop_given)
        terms = phase.loss(inside, noise)
        if self.learned_inputs:
            # -log q of the dequantisation belongs to the loss (Ho et al. 2019, section 3.1).
            terms = {**terms, "dequantisation": -correction}
        # (terms, B) -> (B,), weighted, then the mean over all processes' rows.
        total = torch.stack(list(terms.values())).sum(0)
        if inside.weight is not None:
            total = total * inside.weight.to(total)
        return total.sum() / whole, terms

    def _descend(self, phase: Phase, gradients: Sequence[Tensor | None]) -> dict[str, float]:
        parameters = list(phase.parameters)
        # Gradients where optimisers expect them.
        for p, g in zip(parameters, gradients, strict=True):
            p.grad = torch.zeros_like(p) if g is None else _laid_as(p, g)
        # Data parallel: each process has the gradient of its own rows.
        _sum_over_processes(parameters)
        # Clipped after summing, so that all processes clip alike.
        if self.config.clip:
            facts = self._clipped([p.grad for p in parameters if p.grad is not None])
        else:
            facts = {}
        # Learning rates relative to each group's peak.
        share = self._lr(phase.settling) * phase.lr / self.config.lr
        for optimiser in self.optimisers[phase.name]:
            for group in optimiser.param_groups:
                group["lr"] = group["peak"] * share
            optimiser.step()
        for p in parameters:
            p.grad = None
        return facts

    def _clipped(self, gradients: list[Tensor]) -> dict[str, float]:
        """The gradients' norm, which they are scaled down from where it exceeds the Config's (Pascanu et al. 2013)."""
        norm = float(nn.utils.get_total_norm(gradients, foreach=True))
        most = self.config.clip
        if norm > most:
            torch._foreach_mul_(gradients, most / (norm + 1e-6))
        return {"gradient norm": norm}

    def _rows(self, move: int, stream: int = 0) -> tuple[Batch, Noise]:
        """The rows and noise of a move: places in the global batch, of which a process takes its slice."""
        size = self.config.batch
        source = self.task.source
        # Every process draws the same global batch and takes its slice.
        place = torch.arange(size)
        if dist.is_available() and dist.is_initialized():
            place = place.tensor_split(dist.get_world_size())[dist.get_rank()]
        noise = Noise(
            self.task.seed,
            place.to(self.task.model.device),
            step=move + 1,
            scope=f"train{stream}",
            dtype=self.task.model.dtype,
        )
        # A density alone has no data: rows of zeros carry the batch size.
        if source is None:
            return self._blank(len(place)), noise
        return self._items(source, move * size + int(place[0]), len(place), stream), noise

    def _blank(self, count: int) -> Batch:
        """So many rows of zeros in the model's layout."""
        shape = (count, *self.task.model.space.layout)
        return Batch(torch.zeros(shape, dtype=self.task.model.dtype))

    def _items(self, source: Source, start: int, count: int, stream: int) -> Batch:
        """The items at places start, start + 1, ... of the epochs' orders laid end to end."""
        parts: list[Batch] = []
        stop = start + count
        # A batch may span the end of an epoch.
        while start < stop:
            epoch, at = divmod(start, self.task.rows)
            index = self._order(epoch, stream)[at : at + stop - start]
            parts.append(source.epoch(epoch).rows(index))
            start += len(index)
        if len(parts) == 1:
            return parts[0]
        return concat(parts)

    def _order(self, epoch: int, stream: int) -> Tensor:
        # One permutation an epoch and stream; the neighbouring epochs' are kept.
        key = epoch * 2**32 + stream
        if key not in self._orders:
            orders = {k: v for k, v in self._orders.items() if abs((k >> 32) - epoch) <= 1}
            source = generator(self.task.seed, ORDER, stream, epoch)
            self._orders = {**orders, key: torch.randperm(self.task.rows, generator=source)}
        return self._orders[key]

    def _done(self) -> float:
        """The share of the schedule that is done: 0 until its end is decided, and without a jump where that moves."""
        # Each stretch of the plan finishes its share of what was left before it.
        left = 1.0
        plan = self._plan()
        for (at, steps), (until, _) in pairwise([*plan, (self.iteration, None)]):
            if steps is not None:
                left *= 1 - min(1.0, max(0.0, (until - at) / max(steps - at, 1)))
        return 1 - left

    def _lr(self, settling: float = 1.0) -> float:
        """The learning rate: it rises over the warm-up and follows the schedule once the number of steps is decided."""
        c = self.config
        part = self._done()
        # Linear warm-up
        rise = min(1.0, (self.iteration + 1) / max(c.warmup, 1))
        if self.total is None or c.schedule == "constant":
            return c.lr * rise
        # Cosine or linear decay, never quite to 0.
        if c.schedule == "cosine":
            shape = 0.5 * (1 + math.cos(math.pi * part))
        else:
            shape = 1 - part
        return c.lr * rise * max(shape, 1e-3) ** settling

    # ---- averages --------------------------------------------------------------------------------

    def _average(self) -> None:
        # A decay that rises with the steps, so that early weights fade quickly.
        if self.shadow:
            decay = min(self.config.ema, (1 + self.iteration) / (10 + self.iteration))
            torch._foreach_lerp_(self.shadow, [p.detach() for _, p in self.averaged], 1 - decay)

    def answering(self, _use: bool) -> None:
        """Exchange the weights with their averages."""
        # Swapped in place, so that swapping twice restores the weights.
        for s, (_, p) in zip(self.shadow, self.averaged, strict=False):
            weights = p.detach().clone()
            p.data.copy_(s)
            s.copy_(weights)

    def finish(self) -> None:
        """The averages stay in the model; what the clock decided is settled, so that it can be replayed."""
        if self.task.budget.seconds is not None:
            self.task.decisions["settled"] = True
        if self.shadow:
            self.answering(True)
            self.shadow = []

    # ---- what the clock decides ------------------------------------------------------------------

    def _decide(self) -> None:
        """Turn a wall budget into steps after a first few per cent of it, and look at the pace again later."""
        seconds = self.task.budget.seconds
        if seconds is None:
            return
        # Time of earlier runs counts too, when a fit goes on.
        elapsed = self.spent + time.perf_counter() - self.started
        if self.total is not None:
            self._revise(self.total, seconds, elapsed)
            return
        # The first steps pay for compilation and allocation, and are left out of the pace.
        if self.iteration == SLOW:
            self.warm = elapsed
        if self.iteration < 2 * SLOW or elapsed < CALIBRATE * seconds:
            return
        # Seconds a step, and the steps that fit into the rest, less what validation costs.
        pace = (elapsed - self.warm) / (self.iteration - (SLOW if self.warm else 0))
        left = max(0.0, seconds * (1 - VALIDATING) - elapsed)
        self.task.decisions["steps"] = self.iteration + int(left / pace)
        self.task.decisions["decided_at"] = self.iteration
        self.mark = (elapsed, self.iteration)

    def _revise(self, total: int, seconds: float, elapsed: float) -> None:
        """Move the end where the pace of late, validation included, would miss the budget by more than the slack."""
        (start, _) = self._plan()[0]
        part = (total - start) // MARKS
        took = elapsed - self.mark[0]
        steps = self.iteration - self.mark[1]
        soon = steps < part and (took < seconds / MARKS or steps < SLOW)
        if self.task.decisions.get("settled") or soon:
            return
        pace = took / steps
        self.mark = (elapsed, self.iteration)
        ahead = total - self.iteration
        left = max(int((seconds - elapsed) / pace), part // 4)
        if ahead > 0 and abs(left - ahead) > SLACK * ahead:
            before = self.task.decisions.get("revised", [])
            self.task.decisions["revised"] = [*before, [self.iteration, self.iteration + left]]

    # ---- state -----------------------------------------------------------------------------------

    def _moved(self) -> Iterator[tuple[str, str, torch.optim.Optimizer, Tensor]]:
        """Every parameter with the phase and the optimiser that moves it, and a name for its place."""
        for name, made in self.optimisers.items():
            for i, optimiser in enumerate(made):
                members = (p for group in optimiser.param_groups for p in group["params"])
                yield from ((name, f"{i}.{j}", optimiser, p) for j, p in enumerate(members))

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The optimisers' moments, averages, counters."""
        tensors = {f"shadow.{i}": s for i, s in enumerate(self.shadow)}
        for name, place, optimiser, p in self._moved():
            for key, value in optimiser.state.get(p, {}).items():
                tensors[f"moments.{name}.{place}.{key}"] = torch.as_tensor(value)
        spent = self.spent + time.perf_counter() - self.started
        return tensors, {"iteration": self.iteration, "moves": self.moves, "spent": spent}

    def load(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Go on from `state`."""
        self.iteration = facts["iteration"]
        self.moves = dict(facts["moves"])
        self.spent = facts["spent"]
        self.started = time.perf_counter()
        self.mark = (self.spent, self.iteration)
        for i, s in enumerate(self.shadow):
            s.copy_(tensors[f"shadow.{i}"])
        for name, place, optimiser, p in self._moved():
            prefix = f"moments.{name}.{place}."
            moments = {
                k.removeprefix(prefix): v.clone()
                for k, v in tensors.items()
                if k.startswith(prefix)
            }
            if moments:
                optimiser.state[p] = moments
        self.done = self.total is not None and self.iteration >= self.total


def _laid_as(parameter: Tensor, gradient: Tensor) -> Tensor:
    """The gradient in the parameter's own memory layout: a fused Adam reads both as they lie and not by strides."""
    if gradient.stride() == parameter.stride():
        return gradient
    return torch.empty_like(parameter).copy_(gradient)


def _plus(total: list[Tensor | None], more: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Gradients summed over pieces; None where no piece has any."""
    if not total:
        return list(more)
    return [_sum_of(a, b) for a, b in zip(total, more, strict=True)]


def _sum_of(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    if a is None or b is None:
        return b if a is None else a
    return a + b


def _everywhere(batch: Batch) -> Tensor | int:
    """The weight of the rows of all processes."""
    if not (dist.is_available() and dist.is_initialized()):
        if batch.weight is None:
            return len(batch)
        return batch.weight.sum()
    whole = batch.weights.sum()
    dist.all_reduce(whole)
    return whole


def _sum_over_processes(parameters: list[nn.Parameter]) -> None:
    if not (dist.is_available() and dist.is_initialized()):
        return
    flat = torch.cat([p.grad.reshape(-1) for p in parameters if p.grad is not None])
    dist.all_reduce(flat)
    start = 0
    for p in parameters:
        if p.grad is not None:
            p.grad.copy_(flat[start : start + p.numel()].reshape(p.shape))
            start += p.numel()
