"""Markov chains: each code depends on the last few, in time or in the order of the columns; counted, exact."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor

from likeness.core.answers import Completed, Kind, Mode, Scored
from likeness.core.batch import Batch
from likeness.core.config import Config, option
from likeness.core.errors import BadData
from likeness.core.learner import EM, Parameters
from likeness.core.model import Model
from likeness.core.noise import Noise
from likeness.core.registry import Card, register
from likeness.core.space import Space
from likeness.heads.paths import NEVER, Paths
from likeness.heads.steps import StepNoise, timed
from likeness.heads.windows import Windows

WIDEST = 512  # windows of the last few codes up to which holes are summed over
LARGEST = 1 << 22  # numbers of all tables together
ROOM = 1 << 24  # numbers of a chunk's windows
MOST_CODES = 64


class MarkovConfig(Config):
    """Options of `markov`."""

    order: int = option(1, "how many codes before one it depends on", ge=1)
    steps: Literal["auto", "tied", "free"] = option(
        "auto", "tied: the same law at every step; free: one for each; auto: tied in time, free over columns"
    )
    end: bool = option(False, "whether the chain may end after any step of a ragged sequence: then lengths have a law")
    smoothing: float = option(1.0, "weight added to every code behind every window", "objective", ge=0)
    passes: int = option(100, "most passes of EM, where codes are missing", "optimiser", ge=1)
    tolerance: float = option(1e-8, "EM stops where a pass gains less, in nats an item", "optimiser", ge=0)


@register(
    Card(
        "markov", "Markov chain", "classical",
        "Markov, An example of statistical investigation of the text Eugene Onegin", 1913,
        "What follows what: counted in one pass, exact with holes, and a baseline for everything that goes in order.",
    )
)  # fmt: skip
class Markov(Model):
    """p(x) = prod_t p(x_t | x_t-k, ..., x_t-1), each of them a table; before the first code stands "nothing".

    Codes that are missing are summed over forward and backward through the windows of the last k.
    """

    Config = MarkovConfig
    natural_dtype = torch.float64
    log_p: Tensor

    def __init__(self, config: MarkovConfig, space: Space, given_space: Space | None = None) -> None:
        super().__init__(config, space, given_space)
        self.sizes = torch.tensor([int(v.states) for v in space.columns] * (space.dims // space.width))
        self.s, self.free = int(self.sizes.max()), _free(config, space)
        self.order = config.order
        self.windows = Windows(self.s, config.order)
        self.ends = config.end and space.ragged
        self.unbounded = space.ragged and not self.ends and not self.free
        places = space.dims if self.free else 1
        outcomes = self.s + int(self.ends)
        table = torch.zeros(places, self.windows.count, outcomes)
        self.register_buffer("log_p", torch.where(self._possible(places, outcomes), table, NEVER).log_softmax(-1))
        self.holes = False

    @classmethod
    def _refuse(cls, config: MarkovConfig, space: Space, given_space: Space | None) -> str | None:
        if not space.discrete or max(v.states for v in space.variables) > MOST_CODES:
            return (
                f"it counts codes, up to {MOST_CODES} of them: take `linear_dynamical` for series, or `autoregressive`"
            )
        if given_space is not None:
            return "its tables know of no condition: take `discriminant` with law=markov, or `autoregressive`"
        codes, places = int(max(v.states for v in space.variables)), space.dims if _free(config, space) else 1
        windows = (codes + 1) ** config.order
        if windows * (codes + 1) * places > LARGEST:
            return f"an order of {config.order} over {codes} codes has {windows:,} windows: take a lower order"
        if config.steps == "tied" and len({v.states for v in space.columns}) > 1:
            return "columns of unlike categories share no table: leave out steps=tied"
        if config.end and not space.ragged:
            return "items of one length do not end: leave out end="
        return None

    def _possible(self, places: int, outcomes: int) -> Tensor:
        """Which outcomes each place may have at all, bool (places, 1, outcomes)."""
        sizes = self.sizes[:places, None, None]
        code = torch.arange(outcomes)
        return (code < sizes) | (code == self.s)

    # ---- learning --------------------------------------------------------------------------------------------------

    def _prepare(self, source: Any) -> None:
        self.holes = any(not b.full for b in source.chunks(65536))
        if self.holes and self.windows.count > WIDEST:
            raise BadData(f"{self.windows.count:,} windows are too many to sum holes over", do="take a lower order")

    def learner(self) -> EM:
        """Counting, in one pass; EM where codes are missing."""
        config: MarkovConfig = self.config
        rows = max(1, ROOM // (self.space.dims * self.windows.count))
        passes = config.passes if self.holes else 1
        return EM(self._start, self._expect, self._maximise, self._assign, passes, config.tolerance, rows=rows)

    def _start(self, task: Any, noise: Noise) -> Parameters:
        return {"log_p": self.log_p.double()}

    def _expect(self, batch: Batch, now: Parameters) -> Parameters:
        """How often each outcome followed each window, in rows without holes and as expected in the others."""
        whole = ~batch.holes.flatten(1).any(-1)
        weight = batch.weights.double()
        known, counts = self._counted(batch[whole], now["log_p"])
        value = known @ weight[whole]
        if not bool(whole.all()):
            rest = batch[~whole]
            paths = self._paths(rest, now["log_p"])
            value = value + paths.log_z @ weight[~whole]
            counts = counts + self._expected(paths, rest, weight[~whole])
        return {"counts": counts, "objective": value, "weight": weight.sum()}

    def _counted(self, batch: Batch, log_p: Tensor) -> tuple[Tensor, Tensor]:
        """Log p of rows without holes (B,), and their counts, shaped as log_p."""
        where, outcome, there = self._events(batch)
        places, windows, outcomes = log_p.shape
        flat = (where * outcomes + outcome).clamp(min=0)
        value = (log_p.reshape(-1)[flat] * there).sum(-1)
        weight = (batch.weights.double()[:, None] * there).flatten()
        counts = log_p.new_zeros(places * windows * outcomes).index_add(0, flat.flatten(), weight)
        return value, counts.reshape(log_p.shape)

    def _events(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Each step's place and window, its outcome, and whether it is there, (B, L) or with the end (B, L + 1)."""
        x = batch.x.flatten(1).long()
        length = torch.full_like(batch.ids, x.shape[1]) if batch.length is None else batch.length
        steps = torch.arange(x.shape[1] + int(self.ends), device=x.device)
        there = steps < length[:, None]
        if self.ends:
            x = torch.nn.functional.pad(x, (0, 1))
            x = torch.where(steps == length[:, None], self.s, x)
            there = steps <= length[:, None].clamp(max=self.space.layout[0] - 1)  # the longest end for certain
        window = self.windows.before(x.clamp(max=self.s - 1))
        place = steps if self.free else torch.zeros_like(steps)
        return place * self.windows.count + window, x, there.double()

    def _expected(self, paths: Paths, batch: Batch, weight: Tensor) -> Tensor:
        """Expected counts of rows with holes."""
        gamma, moves = paths.smooth(weight)
        counts = torch.zeros_like(self.log_p, dtype=torch.float64)
        last, some = self.windows.last(gamma.device), gamma.shape[1] > 0
        if some and bool((last >= 0).any()):
            first = (weight[:, None] * gamma[:, 0])[:, last >= 0]
            counts[0, 0].index_add_(-1, last[last >= 0], first.sum(0))
        moved = self.windows.taken(moves)
        counts[1 if self.free else 0 :, :, : self.s] += moved if self.free else moved[None]
        if self.ends:
            assert batch.length is not None
            final = (batch.length > 0) & (batch.length < self.space.layout[0])
            at = gamma[final, (batch.length[final] - 1)]
            counts[0, :, self.s] += weight[final] @ at
            counts[0, 0, self.s] += weight[batch.length == 0].sum()
        return counts

    def _maximise(self, sums: Parameters, before: Parameters) -> Parameters:
        places, _, outcomes = self.log_p.shape
        possible = self._possible(places, outcomes)
        counts = sums["counts"] + self.config.smoothing * possible
        total = counts.sum(-1, keepdim=True)
        even = possible / possible.sum(-1, keepdim=True)
        p = torch.where(total > 0, counts / total.clamp(min=1e-300), even)
        return {"log_p": torch.where(p > 0, p.clamp(min=1e-300).log(), NEVER)}

    def _assign(self, parameters: Parameters) -> None:
        self.log_p = parameters["log_p"].to(self.log_p)

    def count(self) -> int:
        """One less than the outcomes behind every window that can be, at every place."""
        if not self.free:
            return sum(self.s**k for k in range(self.order + 1)) * (self.s + int(self.ends) - 1)
        sizes = self.sizes.tolist()
        return sum(math.prod(sizes[max(0, i - self.order) : i]) * (n - 1) for i, n in enumerate(sizes))

    # ---- hooks -----------------------------------------------------------------------------------------------------

    def _paths(self, batch: Batch, log_p: Tensor) -> Paths:
        """The law of the windows of each row, given the codes that are known."""
        x, known = batch.x.flatten(1).long(), batch.present.flatten(1)
        last, codes = self.windows.last(x.device), log_p[..., : self.s]
        unary = torch.where(known[..., None] & (last != x[..., None]), NEVER, 0.0).double()
        if self.ends and batch.length is not None:
            final = torch.arange(x.shape[1]) == (batch.length - 1)[:, None]
            final = final & (batch.length < self.space.layout[0])[:, None]
            unary = unary + final[..., None] * log_p[0, :, self.s]
        first = torch.full((self.windows.count,), NEVER, dtype=torch.float64)
        window = self.windows.next(torch.zeros(self.s, dtype=torch.int64), torch.arange(self.s))
        first[window] = codes[0, 0]
        steps = self.windows.steps(codes)
        return Paths(first, steps[1:] if self.free else steps[0], unary, batch.length)

    def _marginal(self, batch: Batch) -> str | None:
        wide = self.windows.count > WIDEST
        return f"{self.windows.count:,} windows are too many to sum holes over: take a lower order" if wide else None

    def _why_not(self, verb: str) -> str | None:
        return self._marginal(Batch(self.log_p)) if verb in {"complete", "mode"} else None

    @property
    def measure(self) -> str:
        """What log p is taken against."""
        return super().measure.replace("given length", "and length") if self.ends else super().measure

    def _log_prob(self, batch: Batch, noise: Noise, effort: int | None, settings: Any) -> Scored:
        log_p = self.log_p.double()
        if batch.full:
            value = self._counted(batch, log_p)[0]
        else:
            value = self._paths(batch, log_p).log_z
            empty = torch.zeros_like(value) if batch.length is None else (batch.length == 0).to(value)
            value = torch.where(empty > 0, log_p[0, 0, self.s] if self.ends else 0.0, value)
        impossible = value < NEVER / 2
        return Scored(torch.where(impossible, -torch.inf, value).to(self.dtype), Kind.EXACT, "chain of tables")

    def _sample(self, noise: Noise, given: Batch | None, length: Tensor | None, settings: Any) -> Tensor:
        steps = self.space.dims if length is None or not len(length) else max(self.space.dims, int(length.max()))
        return self._walk(noise, steps, self.log_p[..., : self.s].log_softmax(-1)).reshape(-1, *self._laid(steps))

    def _sample_ended(self, noise: Noise, given: Batch | None, settings: Any) -> tuple[Tensor, Tensor]:
        """Codes up to the first end; the longest item that is known ends for certain."""
        steps = self.space.layout[0]
        x = self._walk(noise, steps, self.log_p)
        over = x == self.s
        length = torch.where(over.any(-1), over.long().argmax(-1), steps)
        return torch.where(torch.arange(steps) < length[:, None], x, 0.0), length

    def _walk(self, noise: Noise, steps: int, log_p: Tensor) -> Tensor:
        """Outcomes one after the other, (B, steps); behind an end they mean nothing."""
        u = StepNoise.of(noise, steps).uniform("code").double().reshape(-1, steps)
        cdf, window = log_p.double().exp().cumsum(-1), torch.zeros(len(u), dtype=torch.int64)
        found = []
        for t in range(steps):
            here = cdf[t if self.free else 0][window]
            code = (here[:, :-1] <= u[:, t, None] * here[:, -1:]).sum(-1)
            found.append(code)
            window = self.windows.next(window, code.clamp(max=self.s - 1))
        return torch.stack(found, -1).to(self.dtype)

    def _laid(self, steps: int) -> tuple[int, ...]:
        return (steps,) if self.space.ragged else self.space.layout

    def _complete(self, batch: Batch, noise: Noise, n: int, settings: Any) -> Completed:
        many, paths = noise.draws(n), self._paths(batch, self.log_p.double())
        steps = paths.unary.shape[1]
        u = StepNoise.of(many, steps).uniform("code").double().reshape(n, len(batch), steps)
        x = self.windows.last(u.device)[paths.draw(u)].clamp(min=0).to(self.dtype)
        return Completed(x.reshape(n, *batch.x.shape), "codes drawn backwards")

    def _mode(self, batch: Batch, settings: Any) -> Mode:
        """The best path of windows that agree with what is known (Viterbi 1967)."""
        path, _ = self._paths(batch, self.log_p.double()).best()
        x = self.windows.last(path.device)[path].clamp(min=0).to(self.dtype)
        return Mode(batch.with_x(x.reshape(batch.x.shape)), Kind.EXACT, "best path")

    @classmethod
    def small(cls, space: Space) -> dict[str, Any]:
        """Options that learn within a second."""
        return {}


def _free(config: MarkovConfig, space: Space) -> bool:
    """Whether every place has a table of its own."""
    return not (space.ragged or timed(space)) if config.steps == "auto" else config.steps == "free"
