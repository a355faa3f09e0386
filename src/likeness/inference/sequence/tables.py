"""Chains of codes as tables: counted, and summed over where codes are missing."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from likeness.core.batch import Batch
from likeness.core.learner import Parameters
from likeness.core.noise import Noise
from likeness.core.space import Space
from likeness.inference.sequence.chain import Chain
from likeness.inference.sequence.linear_chain import NEVER, Paths
from likeness.inference.sequence.ngrams import Windows
from likeness.inference.sequence.steps import StepNoise
from likeness.numerics.draws import inverse_cdf

WIDEST = 512  # windows of the last few codes up to which missing codes are summed over


class TableChain(Chain):
    """p(x_t | x_t-k, ..., x_t-1) is a table, "log_p" (places, windows, outcomes); before the first code is "nothing".

    Args:
        space: Of codes.
        order: k.
        free: Whether every place has a table of its own.
        ends: Whether the chain may end behind every step: one outcome more.
        smoothing: Weight added to every outcome behind every window.
    """

    def __init__(
        self, space: Space, order: int, smoothing: float, *, free: bool, ends: bool
    ) -> None:
        self.space = space
        self.order = order
        self.smoothing = smoothing
        self.free = free
        self.ends = ends
        self.sizes = torch.tensor(
            [int(v.states) for v in space.columns] * (space.dims // space.width)
        )
        self.s = int(self.sizes.max())
        self.windows = Windows(self.s, order)
        self.shape = (space.dims if free else 1, self.windows.count, self.s + int(ends))

    def init(self, variance: Tensor | None = None) -> Parameters:
        """Uniform tables."""
        # Outcomes that a place cannot have get no weight, where columns differ in their categories.
        table = torch.zeros(self.shape, dtype=torch.float64)
        return {
            "log_p": torch.where(self._possible(*self.shape[::2]), table, NEVER).log_softmax(-1)
        }

    def _possible(self, places: int, outcomes: int) -> Tensor:
        """Which outcomes each place may have at all, bool (places, 1, outcomes)."""
        sizes = self.sizes[:places, None, None]
        code = torch.arange(outcomes)
        return (code < sizes) | (code == self.s)

    def e_step(self, batch: Batch, weight: Tensor, now: Parameters) -> Parameters:
        """How often each outcome followed each window: counted where a row is fully observed, expected otherwise."""
        # Rows without missing codes are counted; of the others the expected counts are added (EM).
        whole = None if batch.full else ~batch.holes.flatten(1).any(-1)
        counts = self._counts(batch if whole is None else batch[whole])
        value = (counts * now["log_p"]).sum()
        if whole is not None:
            rest = batch[~whole]
            paths = self._paths(rest, now["log_p"])
            value = value + paths.log_z @ weight[~whole]
            counts = counts + self._expected(paths, rest, weight[~whole])
        return {"counts": counts, "objective": value, "weight": weight.sum()}

    def _counts(self, batch: Batch) -> Tensor:
        """How often each outcome followed each window in rows of which all codes are observed, shaped as the tables."""
        cell, there = self._cells(batch)
        # A weighted histogram over the cells of the tables laid out flat.
        weight = batch.weights.double()[:, None]
        if there is None:
            weight = weight.expand(cell.shape)
        else:
            weight = weight * there
        counts = weight.new_zeros(math.prod(self.shape)).index_add(
            0, cell.flatten(), weight.flatten()
        )
        return counts.reshape(self.shape)

    def _cells(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Each step's cell of the tables laid out flat, and which are there, (B, L) or with the end (B, L + 1)."""
        x = batch.x.flatten(1).long()
        length = batch.length
        there = None
        if self.ends:
            x = torch.nn.functional.pad(x, (0, 1))
        # What follows each step: its code, or code S (the end) at the step after the last one.
        steps = torch.arange(x.shape[1], device=x.device)
        outcome = x
        if length is not None and self.ends:
            there = steps <= length[:, None].clamp(
                max=self.space.layout[0] - 1
            )  # the longest end for certain
            outcome = torch.where(steps == length[:, None], self.s, x)
        elif length is not None:
            there = steps < length[:, None]
        # Index of (place, window, outcome) in the tables laid out flat.
        cell = self.windows.before(x).mul_(self.shape[-1]).add_(outcome)
        if self.free:
            cell = cell.add_(steps * math.prod(self.shape[1:]))
        return cell if there is None else cell.masked_fill_(~there, 0), there

    def _expected(self, paths: Paths, batch: Batch, weight: Tensor) -> Tensor:
        """Expected counts of rows with missing codes."""
        # (rows, steps, windows) and (steps - 1, windows, windows), or their sum over steps
        gamma, moves = paths.smooth(weight)
        counts = gamma.new_zeros(self.shape)
        last = self.windows.last(gamma.device)
        some = gamma.shape[1] > 0
        # The first code follows the window of "nothing".
        if some and bool((last >= 0).any()):
            first = (weight[:, None] * gamma[:, 0])[:, last >= 0]
            counts[0, 0].index_add_(-1, last[last >= 0], first.sum(0))
        # Every move between windows adds one code: (steps, windows, codes).
        by_code = self.windows.taken(moves)
        counts[1 if self.free else 0 :, :, : self.s] += by_code if self.free else by_code[None]
        # The end follows the window of the last step; an empty item has its end behind "nothing".
        if self.ends:
            length = batch.lengths
            final = (length > 0) & (length < self.space.layout[0])
            at = gamma[final, (length[final] - 1)]
            counts[0, :, self.s] += weight[final] @ at
            counts[0, 0, self.s] += weight[length == 0].sum()
        return counts

    def m_step(self, sums: Parameters, before: Parameters) -> Parameters:
        """Shares of the smoothed counts; windows that never occurred keep an even distribution."""
        possible = self._possible(*self.shape[::2])
        counts = sums["counts"] + self.smoothing * possible
        total = counts.sum(-1, keepdim=True)
        even = possible / possible.sum(-1, keepdim=True)
        p = torch.where(total > 0, counts / total.clamp(min=1e-300), even)
        return {"log_p": torch.where(p > 0, p.clamp(min=1e-300).log(), NEVER)}

    def _paths(self, batch: Batch, log_p: Tensor) -> Paths:
        """The distribution of the windows of each row, given the codes that are known."""
        # A chain of order k over codes is one of order 1 over windows of the last k codes.
        x = batch.x.flatten(1).long()
        observed = batch.present.flatten(1)
        last = self.windows.last(x.device)
        codes = log_p[..., : self.s]
        # An observed code rules out every window that ends with another one.
        unary = torch.where(observed[..., None] & (last != x[..., None]), NEVER, 0.0).double()
        # At its last step a row that ends also emits the end.
        if self.ends and batch.length is not None:
            final = torch.arange(x.shape[1]) == (batch.length - 1)[:, None]
            final = final & (batch.length < self.space.layout[0])[:, None]
            unary = unary + final[..., None] * log_p[0, :, self.s]
        # Only windows of one code and "nothing" before it can come first.
        first = torch.full((self.windows.count,), NEVER, dtype=torch.float64)
        window = self.windows.next(torch.zeros(self.s, dtype=torch.int64), torch.arange(self.s))
        first[window] = codes[0, 0]
        steps = self.windows.steps(codes)
        return Paths(first, steps[1:] if self.free else steps[0], unary, batch.length)

    def log_prob(self, batch: Batch, now: Parameters) -> Tensor:
        """The sum of the tables' entries; forward through the windows where codes are missing."""
        log_p = now["log_p"]
        # Observed rows: a look-up. Others: the sum over all paths of windows.
        if batch.full:
            cell, there = self._cells(batch)
            each = log_p.flatten()[cell]
            value = (each if there is None else each * there).sum(-1)
        else:
            value = self._paths(batch, log_p).log_z
            if batch.length is None:
                empty = torch.zeros_like(value)
            else:
                empty = (batch.length == 0).to(value)
            # An item of no steps has no first state: its only factor is the end behind "nothing".
            value = torch.where(empty > 0, log_p[0, 0, self.s] if self.ends else 0.0, value)
        return torch.where(value < NEVER / 2, -torch.inf, value)

    def sample(self, noise: Noise, steps: int, now: Parameters) -> Tensor:
        """Codes one after the other, given that the chain does not end."""
        x = self.walk(noise, steps, now["log_p"][..., : self.s].log_softmax(-1))
        if self.space.ragged:
            return x
        return x.reshape(-1, *self.space.layout)

    def ended(self, noise: Noise, now: Parameters) -> tuple[Tensor, Tensor]:
        """Codes up to the first end, and how many; the longest item that is known ends for certain."""
        steps = self.space.layout[0]
        x = self.walk(noise, steps, now["log_p"])
        over = x == self.s
        length = torch.where(over.any(-1), over.long().argmax(-1), steps)
        return torch.where(torch.arange(steps) < length[:, None], x, 0.0), length

    def walk(self, noise: Noise, steps: int, log_p: Tensor) -> Tensor:
        """Outcomes one after the other, (B, steps); those behind an end are to be ignored."""
        u = StepNoise.of(noise, steps).uniform("code").double().reshape(-1, steps)
        cdf = log_p.double().exp().cumsum(-1)
        window = torch.zeros(len(u), dtype=torch.int64)
        codes = []
        for t in range(steps):
            here = cdf[t if self.free else 0][window]
            code = inverse_cdf(here, u[:, t])
            codes.append(code)
            window = self.windows.next(window, code.clamp(max=self.s - 1))
        return torch.stack(codes, -1).double()

    def draw(self, batch: Batch, now: Parameters, noise: Noise) -> Tensor:
        """Codes drawn from the last to the first."""
        paths = self._paths(batch, now["log_p"])
        steps = paths.unary.shape[1]
        n = noise.rows // len(batch)
        u = StepNoise.of(noise, steps).uniform("code").double().reshape(n, len(batch), steps)
        return (
            self.windows.last(u.device)[paths.draw(u)]
            .clamp(min=0)
            .double()
            .reshape(n, *batch.x.shape)
        )

    def mode(self, batch: Batch, now: Parameters) -> tuple[Tensor, bool]:
        """The best path of windows that agree with what is known (Viterbi 1967)."""
        path, _ = self._paths(batch, now["log_p"]).best()
        codes = self.windows.last(path.device)[path].clamp(min=0)
        return codes.double().reshape(batch.x.shape), True

    def too_wide(self, batch: Batch | None) -> str | None:
        """Why so many windows cannot be summed over, or None."""
        wide = self.windows.count > WIDEST
        if wide:
            return f"{self.windows.count:,} windows are too many to sum missing entries over: take a lower order"
        return None

    def free_parameters(self, params: Parameters) -> int:
        """One less than the outcomes behind every window that can be, at every place."""
        if not self.free:
            return sum(self.s**k for k in range(self.order + 1)) * (self.s + int(self.ends) - 1)
        sizes = self.sizes.tolist()
        return sum(
            math.prod(sizes[max(0, i - self.order) : i]) * (n - 1) for i, n in enumerate(sizes)
        )
