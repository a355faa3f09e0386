"""Learning: the units of data do not matter, every parameter learns, oracles are optimal, two processes are one."""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn

from likeness import registry
from likeness.check.cell import ROWS, Cell, learned, unfitted
from likeness.check.contract import STANDARD_ERRORS, Result, Skip, check, demand, judge
from likeness.check.oracles import ORACLES
from likeness.check.spaces import cell as world_of
from likeness.core.batch import Batch
from likeness.core.files import write_atomic
from likeness.core.learner import FullBatch, Gradient, Learner, Loss, Staged
from likeness.core.model import Model
from likeness.core.noise import Noise
from likeness.data.source import Table
from likeness.learn.run import Run
from likeness.registry import reading, store

Surroundings = Callable[[], AbstractContextManager[Any]]

SCALED = "reals2"
RELABELLED = "nominal4"
SCALE = 3.0
SHIFT = 5.0
CLOSED = 1e-6  # nats: every row; the mean over held-out rows
NETS = 0.05
TRIED = 3
DROP = 0.5
STEPS = 6
TOGETHER = 1e-6


# ---- 6: units and names of data ------------------------------------------------------------------


@check(6, "units and labels do not matter")
def equivariance(cell: Cell) -> Result:
    """x -> ax + b shifts log p by -D log|a|; relabelled categories leave it as it was."""
    if cell.given or cell.space_name not in {SCALED, RELABELLED}:
        raise Skip(f"asked of {SCALED} and {RELABELLED} without a condition")
    # The same rows in other units, or with other codes, to a fresh model of the same seed.
    scaled = cell.space_name == SCALED
    change = (lambda x: SCALE * x + SHIFT) if scaled else _turn(cell)
    before, after = (_refitted(cell, f) for f in (lambda x: x, change))
    if cell.kind is None:
        if scaled:
            return _drawn_alike(before, after, change)
        return _no_density()
    batch = cell.held(1000)
    # The density of ax + b is that of x divided by |a|^D; relabelling has Jacobian 1.
    if scaled:
        shift = -cell.law.space.dims * float(torch.tensor(SCALE).log())
    else:
        shift = 0.0
    gap = after.log_p(replace(batch, x=change(batch.x))) - before.log_p(batch) - shift
    # Nets start alike but round differently, so only the mean is compared.
    if _is_net(cell.model.learner()):
        return judge(
            abs(float(gap.mean())), NETS, "change of the held-out mean of log p beyond -D log a"
        )
    return judge(float(gap.abs().max()), CLOSED, "largest change of log p of a row beyond -D log a")


def _turn(cell: Cell) -> Callable[[Tensor], Tensor]:
    """Every category called by the next one's code."""
    sizes = torch.tensor([v.states for v in cell.law.space.columns], dtype=cell.law.dtype)
    return lambda x: (x + 1) % sizes


def _refitted(cell: Cell, change: Callable[[Tensor], Tensor]) -> Cell:
    source = cell.world.source(ROWS, cell.seed)
    moved = Table(
        source.space,
        replace(source.batch, x=change(source.batch.x)),
        source.given_space,
        source.name,
    )
    return cell.again(
        learned(unfitted(cell.family, cell.world, seed=cell.seed), moved, seed=cell.seed)
    )


def _drawn_alike(before: Cell, after: Cell, change: Callable[[Tensor], Tensor]) -> Result:
    """Without a log p: what the two draw from the same seed is the same in units of its spread."""
    x = change(before.drawn(2000).x)
    y = after.drawn(2000).x
    gap = ((y.mean(0) - x.mean(0)).abs() / x.std(0)).max()
    return judge(float(gap), NETS, "change of the mean of draws, in standard deviations")


def _no_density() -> Result:
    raise Skip("there is no log_prob to compare")


def _is_net(learner: Learner) -> bool:
    if isinstance(learner, Staged):
        parts = [make() for _, make in learner.stages]
    else:
        parts = [learner]
    return any(isinstance(p, Gradient) for p in parts)


# ---- 8: oracles ----------------------------------------------------------------------------------


@check(8, "an oracle gets the optimal loss")
def oracle(cell: Cell) -> Result:
    """A net that knows the truth gets the loss that theory says is the least."""
    known = ORACLES.get(cell.family)
    if known is None:
        raise Skip("no net whose truth could be put in its place is known for this family")
    if (cell.space_name, cell.given_name) != known.cell:
        raise Skip(f"asked of {known.cell[0]}, {known.cell[1]}")
    statistic, detail = known.measure(cell)
    return judge(statistic, STANDARD_ERRORS, detail)


# ---- 12: every parameter learns ------------------------------------------------------------------


@check(12, "every parameter learns")
def gradients(cell: Cell) -> Result:
    """Every parameter that a phase names gets a gradient, and every parameter is named."""
    phases = list(_phases(cell.model.learner()))
    if not phases:
        raise Skip("closed form or EM: there are no gradients")
    # What some phase names must get a gradient; what requires one must be named.
    names = {id(p): name for name, p in cell.model.named_parameters()}
    dead = [
        f"{phase}: {names.get(id(p), 'a parameter from elsewhere')}"
        for phase, loss, parameters in phases
        for p in _dead(cell, loss, parameters)
    ]
    demand(not dead, f"no gradient reaches {', '.join(dead)}")
    moved = {id(p) for _, _, parameters in phases for p in parameters}
    idle = [names[id(p)] for p in cell.model.parameters() if p.requires_grad and id(p) not in moved]
    demand(not idle, f"no phase moves {', '.join(idle)}")
    return Result(0, 0, f"{len(moved)} parameters in {len(phases)} phases")


def _phases(learner: Learner) -> Iterator[tuple[str, Loss, Sequence[nn.Parameter]]]:
    """Name, loss and parameters of all that moves by gradients."""
    if isinstance(learner, Gradient):
        yield from ((p.name, p.loss, p.parameters) for p in learner.phases)
    elif isinstance(learner, FullBatch):
        yield "full batch", learner.loss, learner.parameters
    elif isinstance(learner, Staged):
        for _, make in learner.stages:
            yield from _phases(make())


def _dead(cell: Cell, loss: Loss, parameters: Sequence[nn.Parameter]) -> list[nn.Parameter]:
    """Parameters that get no gradient from any of a few batches."""
    # Several batches, since one may leave a parameter out by chance.
    total = [torch.zeros_like(p) for p in parameters]
    for i in range(TRIED):
        batch, noise = _training(cell, i)
        value = torch.stack(list(loss(batch, noise).values())).sum(0).mean()
        found = torch.autograd.grad(value, list(parameters), allow_unused=True)
        total = [t if g is None else t + g.abs() for t, g in zip(total, found, strict=True)]
    return [
        p for p, t in zip(parameters, total, strict=True) if p.numel() and not bool(t.max() > 0)
    ]


def _training(cell: Cell, step: int) -> tuple[Batch, Noise]:
    batch = cell.world.source(256, cell.seed, first=256 * step).batch
    noise = Noise(cell.seed, torch.arange(256), step=step + 1, scope="train", dtype=cell.law.dtype)
    cell.model.train()
    return cell.model.inputs(batch, noise, DROP if cell.given else 0.0)[0], noise


# ---- 19: two processes ---------------------------------------------------------------------------


@check(19, "two processes are one")
def processes(cell: Cell) -> Result:
    """A few steps taken by two processes, half the rows each, lead to the parameters that one process finds."""
    if (cell.space_name, cell.given_name) != (SCALED, "none"):
        raise Skip(f"asked of {SCALED} without a condition")
    if not _is_net(cell.model.learner()):
        raise Skip("closed form or EM: every process reads all rows")
    (gap,) = two_processes([(cell.family, nullcontext)])
    return judge(gap, TOGETHER, "the largest relative difference of a parameter")


def two_processes(asked: Sequence[tuple[str, Surroundings]]) -> list[float]:
    """The largest relative difference of a parameter between one process and two, for each family asked of.

    Args:
        asked: Families, each with what surrounds its learning in both processes: a function of a
            module, which the processes import, or `nullcontext`.
    """
    tasks = [
        (registry.FAMILIES[family].__module__, family, surroundings)
        for family, surroundings in asked
    ]
    # Two processes meet through a file; the first saves what both arrived at.
    with tempfile.TemporaryDirectory() as folder:
        spawn(_worker, (tasks, folder), nprocs=2)
        return [
            _apart(few_steps(family), Path(folder) / f"{i}.safetensors")
            for i, (family, _) in enumerate(asked)
        ]


def _apart(alone: dict[str, Tensor], path: Path) -> float:
    together, _ = reading.unpack(path)
    gaps = [((a - together[k]).abs() / (1 + a.abs())).max() for k, a in alone.items() if a.numel()]
    return float(torch.stack(gaps).max())


def few_steps(family: str) -> dict[str, Tensor]:
    """A family's parameters after a few steps, the first of a process group where there is one."""
    world = world_of(SCALED, "none")
    run = Run(unfitted(family, world), world.source(256, 0), STEPS, 0)
    while not run.done:
        run.step()
    return {k: v.detach().clone() for k, v in run.model.named_parameters()}


def _worker(rank: int, tasks: list[tuple[str, str, Surroundings]], folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=(Path(folder) / "meet").as_uri(), rank=rank, world_size=2
    )
    for i, (module, family, surroundings) in enumerate(tasks):
        importlib.import_module(module)
        with surroundings():
            state = few_steps(family)
        if rank == 0:
            write_atomic(Path(folder) / f"{i}.safetensors", store.pack(state))
    dist.barrier()
    dist.destroy_process_group()


# ---- resuming belongs to saving: see check 3 -----------------------------------------------------


def resumed(cell: Cell) -> float:
    """The largest difference between a run that was stopped, saved and resumed, and one that was not."""
    # Once straight through, once stopped in the middle and resumed from disk.
    source = cell.world.source(256, cell.seed)
    whole = Run(unfitted(cell.family, cell.world), source, STEPS, 0)
    while not whole.done:
        whole.step()
    with tempfile.TemporaryDirectory() as folder:
        first = Run(unfitted(cell.family, cell.world), source, STEPS, 0, out=folder)
        for _ in range(STEPS // 2):
            if not first.done:
                first.step()
        first.save()
        second = Run(
            unfitted(cell.family, cell.world, seed=1), source, STEPS, 0, out=folder, resume=True
        )
        while not second.done:
            second.step()
    pairs = zip(_state(whole.finish()), _state(second.finish()), strict=True)
    return max((float((a - b).abs().max()) for a, b in pairs if a.numel()), default=0.0)


def _state(model: Model) -> list[Tensor]:
    return [v.double() for v in model.state_dict().values()]


__all__ = [
    "equivariance",
    "few_steps",
    "gradients",
    "oracle",
    "processes",
    "resumed",
    "two_processes",
]
