"""How parameters are found, described: a Learner says what to do, a Run (likeness.learn) does it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from likeness.core.batch import Batch
from likeness.core.noise import Noise

Loss = Callable[[Batch, Noise], dict[str, Tensor]]
Parameters = dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class Phase:
    """One player of a training step.

    Args:
        name: What metrics and `Run.step` call it.
        loss: (batch, noise) -> named terms, each (B,), unreduced; their sum is the loss.
        parameters: What it moves.
        every: It moves in every so many iterations.
        repeat: How often it moves in an iteration in which it does.
        lr: Its learning rate as a multiple of the Config's.
        settling: The power of the Config's schedule that it follows: above 1 it comes to rest
            before the others.
        betas: Adam's decay rates.
        after: Called when it has moved (unrolling, clipping, codebooks).
        row_bytes: (a few rows, noise) -> what a row's loss keeps in memory for its gradient, where
            that is much: then gradients of a step are summed over pieces of its rows.
    """

    name: str
    loss: Loss
    parameters: Sequence[nn.Parameter]
    every: int = 1
    repeat: int = 1
    lr: float = 1.0
    settling: float = 1.0
    betas: tuple[float, float] = (0.9, 0.999)
    after: Callable[[int], None] | None = None
    row_bytes: Callable[[Batch, Noise], int] | None = None


@dataclass(frozen=True, eq=False)
class Gradient:
    """Stochastic gradients, by Adam, of the phases in turn, led by a GradientConfig (None: the model's own)."""

    phases: Sequence[Phase]
    config: Any = None


@dataclass(frozen=True, eq=False)
class EM:
    """Expectation-maximisation over additive statistics; a closed form is EM of one pass.

    Args:
        start: (source, noise) -> parameters to begin with.
        expect: (batch in model units, parameters) -> its additive statistics, among them
            "objective" and "weight".
        maximise: (statistics summed over all batches, parameters before) -> parameters.
        assign: Put the parameters into the model.
        passes: The most passes over the data.
        tolerance: Stop where the objective per unit weight rises by less, in nats.
        decay: None for batch EM, else the step size's exponent of stochastic EM (Cappé & Moulines
            2009).
        rows: Rows in a chunk, a bound on memory.
        known: parameters -> the statistics of all rows, where `start` has summed them already: then
            no pass is made.
    """

    start: Callable[[Any, Noise], Parameters]
    expect: Callable[[Batch, Parameters], Parameters]
    maximise: Callable[[Parameters, Parameters], Parameters]
    assign: Callable[[Parameters], None]
    passes: int = 100
    tolerance: float = 1e-6
    decay: float | None = None
    rows: int = 8192
    known: Callable[[Parameters], Parameters] | None = None


@dataclass(frozen=True, eq=False)
class FullBatch:
    """L-BFGS on the whole training part (OWL-QN where l1 > 0; Andrew & Gao 2007), `rows` at a time."""

    loss: Loss
    parameters: Sequence[nn.Parameter]
    l1: float = 0.0
    l2: float = 0.0
    penalised: Sequence[nn.Parameter] | None = None
    memory: int = 10
    tolerance: float = 1e-9
    iterations: int = 1000
    rows: int = 8192


@dataclass(frozen=True, eq=False)
class Staged:
    """Learners one after the other; a stage may be made only when the one before has ended.

    Args:
        stages: A name for each, and how its learner is made.
        shares: Of the budget; equal where none are told.
        rows: What each stage learns from, as a part of the source; all where nothing is told.
    """

    stages: Sequence[tuple[str, Callable[[], Learner]]]
    shares: Sequence[float] = field(default=())
    rows: Callable[[int, Any], Any] = field(default=lambda _stage, source: source)


Learner = Gradient | EM | FullBatch | Staged
