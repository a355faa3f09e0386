"""Distributions over paths of K states.

p(z) is proportional to first[z_1] prod_t step[z_t-1, z_t] prod_t exp(unary[t, z_t]).

Sums over all paths, marginals, the best path and draws, each in time linear in the length. Hidden
Markov models, chains with missing codes and conditional random fields all come down to them.

Legend: B rows, L steps, K states. Inside, tensors are laid out step by step, (L, B, K).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from likeness.inference.sequence.forward_backward import Folded, backward, forward
from likeness.numerics.draws import inverse_cdf

NEVER = -1e30  # the logarithm of what cannot be: finite, so that differences are no NaN
LEAST = 1e-100  # ratio of steps down to which sums of scaled probabilities lose nothing that a double would show
FAINT = 1e-150  # a state's least share of a step, far below LEAST and far above numbers that are slow to multiply
ROOM = 1 << 24  # numbers held at a time where all pairs of states are laid out for all steps
CALL = 8e-6  # what a step of a loop costs: seconds a call, products and bytes a second
FLOPS = 2e10
BYTES = 1e10


@dataclass(frozen=True, eq=False)
class Messages:
    """The scaled forward recursion's results, which the backward one needs (Rabiner 1989, section V.A).

    Args:
        alpha: p(z_t | what came up to t), (L, B, K).
        log_c: Log of what each step adds to the sum over paths, 0 past a row's end, (L, B).
        ahead: exp(unary) / c, 0 past the end, (L, B, K).
        folded: What the forward recursion left for the backward one, where rows were cut into
            blocks.
    """

    alpha: Tensor
    log_c: Tensor
    ahead: Tensor
    folded: Folded | None


@dataclass(frozen=True, eq=False)
class Paths:
    """The distribution of each row's path of states.

    Args:
        log_first: (K,), up to a constant.
        log_step: From row to column, (K, K), up to a constant; or (L - 1, K, K), where steps
            differ.
        unary: What each state is worth at each step, (B, L, K), nats.
        length: Steps of each row, int64 (B,), or None where all have L.
    """

    log_first: Tensor
    log_step: Tensor
    unary: Tensor
    length: Tensor | None = None

    # ---- what the recursions run on --------------------------------------------------------------

    @cached_property
    def inside(self) -> Tensor | None:
        """Which steps are there, (L, B, 1), or None where all are."""
        if self.length is None:
            return None
        steps = torch.arange(self.unary.shape[1], device=self.unary.device)
        return (steps[:, None] < self.length)[..., None]

    @cached_property
    def _scaled(self) -> bool:
        """Whether probabilities may be summed as they are, not as logarithms.

        Each step leads from every state to every other at a rate of LEAST or more, so that what a
        state's share loses by underflow is restored, to far below rounding, with the next step;
        with rates of 0 it would be lost for good.
        """
        return self.log_step.dim() == 2 and float(
            self.log_step.detach().min() - self.log_step.detach().max()
        ) > math.log(LEAST)

    def _lit(self) -> tuple[Tensor, Tensor]:
        """Unary over each step's largest, as probabilities (L, B, K), and the logarithm of the largest (L, B)."""
        # The largest unary of a step becomes 1 and the others
        # at least FAINT, so that no step is all zeros.
        unary = self.unary.transpose(0, 1).clone(memory_format=torch.contiguous_format)
        unary[0] += self.log_first
        top = unary.amax(-1)
        return unary.sub_(top[..., None]).clamp_(min=math.log(FAINT)).exp_(), top

    @cached_property
    def _stochastic(self) -> bool:
        """Whether transitions add up to 1, so that steps past a row's end, or added to fill a block, change nothing."""
        return float((self.log_step.detach().exp().sum(-1) - 1).abs().max()) < 1e-12

    @cached_property
    def _blocks(self) -> int:
        """Into how many blocks of steps, each as fast as one row, a few long rows are cut; 1 where that gains nothing.

        A block costs K times as many products, for all states that it may begin in.
        """
        rows, steps, k = self.unary.shape
        # Seconds that either way is expected to take: 5 calls a step in the loop, or 5 calls for
        # each of `blocks` steps that go together, at K times the products.
        blocks = max(1, math.isqrt(steps))
        serial = steps * (5 * CALL + 2 * rows * k * k / FLOPS)
        folded = 5 * blocks * 5 * CALL + steps * rows * k * k * (2 * k / FLOPS + 32 / BYTES)
        if steps >= 64 and folded < serial and self._stochastic:
            return blocks
        return 1

    @cached_property
    def messages(self) -> Messages:
        """The forward recursion over all steps, in blocks where rows are few and long."""
        # Emissions of 1 past a row's end leave alpha unchanged there.
        e, top = self._lit()
        step = self.log_step.exp()
        if self.inside is not None:
            e = torch.where(self.inside, e, 1.0)
        if self._blocks > 1:
            folded = Folded(e, step, self._blocks)
        else:
            folded = None
        # log p(x) gets back what `_lit` divided by; what is past a row's end counts as 0.
        alpha, c = forward(e, step) if folded is None else folded.forward()
        log_c = c.log() + top
        ahead = e.div_(c[..., None])
        if self.inside is not None:
            alpha = alpha * self.inside
            log_c = log_c * self.inside[..., 0]
            ahead = ahead * self.inside
        return Messages(alpha, log_c, ahead, folded)

    # ---- answers ---------------------------------------------------------------------------------

    @cached_property
    def log_z(self) -> Tensor:
        """The logarithm of the sum over all paths, (B,), with its gradient."""
        # Where a gradient is wanted it comes from the marginals, not from a graph through time.
        laid = (self.log_first, self.log_step, self.unary)
        if torch.is_grad_enabled() and any(t.requires_grad for t in laid):
            value: Tensor = _LogZ.apply(*laid, self.length)
            return value
        if self._scaled:
            return self.messages.log_c.sum(0)
        return self._log_alpha[1]

    def smooth(self, weight: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Marginals of every step, (B, L, K), 0 past the end, and expected transition counts.

        The counts are shaped as `log_step` and sums over rows of that weight (B,), the marginals
        are not.
        """
        if not self._scaled:
            return self._log_smooth(weight)
        # gamma_t(k) = alpha_t(k) beta_t(k); xi_t(j, k) = alpha_t(j) A_jk e_{t+1}(k) beta_{t+1}(k)
        # / c_{t+1}, summed over rows and steps in one product.
        m = self.messages
        step = self.log_step.exp()
        if self.inside is None:
            ended = None
        else:
            ended = (~self.inside).to(step)
        beta, w = (
            backward(m.ahead, step, ended)
            if m.folded is None
            else m.folded.backward(m.ahead, ended)
        )
        if weight is None:
            alpha = m.alpha
        else:
            alpha = m.alpha * weight.to(step)[:, None]
        pairs = step * (alpha[:-1].flatten(0, 1).T @ w[1:].flatten(0, 1))
        return beta.mul_(m.alpha).transpose(0, 1), pairs

    def best(self) -> tuple[Tensor, Tensor]:
        """The likeliest path, int64 (B, L), and the logarithm of its weight (B,) (Viterbi 1967)."""
        # Forward: delta_t(k) = max_j (delta_{t-1}(j) + log
        # A_jk) + log e_t(k), keeping each maximiser j.
        unary = self._log_unary
        step = self._log_steps
        now = unary[0]
        origin = []
        for t in range(1, len(unary)):
            # (rows, states before, states)
            value, state = (now[:, :, None] + step[t - 1]).max(1)
            now = self._kept(t, value + unary[t], now)
            origin.append(state)
        # Backward: follow the maximisers from the best last
        # state; past a row's end the state stays.
        value, state = now.max(-1)
        path = [state]
        for t in range(len(unary) - 1, 0, -1):
            before = origin[t - 1].gather(1, state[:, None])[:, 0]
            if self.inside is None:
                state = before
            else:
                state = torch.where(self.inside[t, :, 0], before, state)
            path.append(state)
        return torch.stack(path[::-1], 1), value

    def draw(self, u: Tensor) -> Tensor:
        """Paths drawn from the last step to the first, int64 (n, B, L) for uniform numbers u (n, B, L)."""
        # Forward filtering, backward sampling: p(z_t | z_{t+1}, x) is proportional to
        # alpha_t(z_t) A(z_t, z_{t+1}).
        log_alpha = self._log_filtered
        step = self._log_steps
        # (draws, rows, steps) -> (steps, draws, rows)
        u = u.permute(2, 0, 1)
        last = log_alpha[-1].softmax(-1).cumsum(-1).expand(*u.shape[1:], -1)
        state = inverse_cdf(last, u[-1])
        path = [state]
        rows = torch.arange(len(self.unary), device=u.device)
        # Conditionals of a block of steps are laid out at once, as many as ROOM allows.
        block = max(1, ROOM // log_alpha[0].numel() // log_alpha.shape[-1])
        for end in range(len(u) - 1, 0, -block):
            part = slice(max(0, end - block), end)
            # (steps, rows, states after, states before), cumulative over the states before
            origin = (log_alpha[part][:, :, None] + step[part].mT[:, None]).softmax(-1).cumsum(-1)
            for t in range(end - 1, part.start - 1, -1):
                before = inverse_cdf(origin[t - part.start][rows, state], u[t])
                if self.inside is not None:  # the draw of a row's last state is that step's own
                    before = torch.where(self.inside[t + 1, :, 0], before, inverse_cdf(last, u[t]))
                state = before
                path.append(state)
        return torch.stack(path[::-1], -1)

    def score(self, path: Tensor) -> Tensor:
        """The logarithm of the weight of a path (B, L) of each row, (B,)."""
        each = self.unary.gather(-1, path[..., None])[..., 0]
        steps = torch.arange(path.shape[1] - 1, device=path.device)
        step = self._log_steps[steps, path[:, :-1], path[:, 1:]]
        moves = torch.cat([self.log_first.clamp(min=NEVER)[path[:, :1]], step], 1)
        if self.inside is not None:
            each = each * self.inside[..., 0].T
            moves = moves * self.inside[..., 0].T
        return (each + moves).sum(1)

    # ---- where steps may be impossible: sums of logarithms ---------------------------------------

    @cached_property
    def _log_unary(self) -> Tensor:
        """Unary, with the distribution of the first state added, (L, B, K)."""
        unary = self.unary.transpose(0, 1).clone(memory_format=torch.contiguous_format)
        unary[0] += self.log_first.clamp(min=NEVER)
        return unary

    @cached_property
    def _log_steps(self) -> Tensor:
        """Log transitions into each step but the first, (L - 1, K, K)."""
        return self.log_step.clamp(min=NEVER).expand(max(self.unary.shape[1] - 1, 1), -1, -1)

    def _kept(self, t: int, new: Tensor, old: Tensor) -> Tensor:
        """The new messages where step t is there, the old ones past a row's end."""
        if self.inside is None:
            return new
        return torch.where(self.inside[t], new, old)

    @cached_property
    def _log_alpha(self) -> tuple[Tensor, Tensor]:
        """Forward messages (L, B, K), unnormalised, and the sum over all paths (B,)."""
        unary = self._log_unary
        step = self._log_steps
        alpha = [unary[0]]
        for t in range(1, len(unary)):
            arrival = (alpha[-1][:, :, None] + step[t - 1]).logsumexp(1) + unary[t]
            alpha.append(self._kept(t, arrival, alpha[-1]))
        return torch.stack(alpha), alpha[-1].logsumexp(-1)

    @cached_property
    def _log_filtered(self) -> Tensor:
        """log p(z_t | what came up to t), up to a constant, (L, B, K); past the end the last one's."""
        if not self._scaled:
            return self._log_alpha[0]
        alpha = self.messages.alpha
        # Past a row's end, the filtered distribution of its last step.
        if self.length is not None:
            last = torch.minimum(
                torch.arange(len(alpha), device=alpha.device)[:, None], self.length - 1
            ).clamp(min=0)
            alpha = alpha.gather(0, last[..., None].expand_as(alpha))
        return alpha.clamp(min=torch.finfo(alpha.dtype).tiny).log()

    def _log_smooth(self, weight: Tensor | None) -> tuple[Tensor, Tensor]:
        gamma, moves = self._log_moves(weight)
        return gamma, moves.sum(0) if self.log_step.dim() == 2 else moves

    def _log_moves(self, weight: Tensor | None) -> tuple[Tensor, Tensor]:
        """Marginals (B, L, K), and expected transitions at each step, (L - 1, K, K)."""
        # The recursions of `smooth` in logarithms: xi_t(j, k)
        # = exp(log alpha + log A + log e + log beta - log Z).
        unary = self._log_unary
        step = self._log_steps
        alpha, log_z = self._log_alpha
        beta = torch.zeros_like(alpha[0])
        moves = [torch.zeros_like(step[0])][: int(len(unary) < 2)]
        gamma = [(alpha[-1] - log_z[:, None]).exp()]
        for t in range(len(unary) - 1, 0, -1):
            ahead = unary[t] + beta
            # (rows, states before, states)
            joint = alpha[t - 1][:, :, None] + step[t - 1] + (ahead - log_z[:, None])[:, None]
            if self.inside is None:
                xi = joint.exp()
            else:
                xi = joint.exp() * self.inside[t][..., None]
            moves.append((xi if weight is None else xi * weight.to(step)[:, None, None]).sum(0))
            beta = self._kept(t, (step[t - 1] + ahead[:, None]).logsumexp(2), beta)
            gamma.append((alpha[t - 1] + beta - log_z[:, None]).exp())
        marginals = torch.stack(gamma[::-1])
        if self.inside is not None:
            marginals = marginals * self.inside
        return marginals.transpose(0, 1), torch.stack(moves[::-1])


class _LogZ(torch.autograd.Function):
    """log Z, whose gradient is the expected states and transitions: no graph through time."""

    @staticmethod
    def forward(
        ctx: Any, log_first: Tensor, log_step: Tensor, unary: Tensor, length: Tensor | None
    ) -> Tensor:
        ctx.paths = Paths(log_first.detach(), log_step.detach(), unary.detach(), length)
        value: Tensor = ctx.paths.log_z
        return value

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        # d log Z / d unary = gamma and d log Z / d log A = xi, summed over rows of that slope.
        (slope,) = slopes
        gamma, pairs = ctx.paths.smooth(slope)
        gamma = gamma * slope[:, None, None]
        return gamma[:, 0].sum(0), pairs, gamma, None


# ---- rows of many lengths, one after the other ---------------------------------------------------


@dataclass(frozen=True, eq=False)
class Smoothed:
    """The E-step of a chain: marginals, expected transitions and expected first states.

    Args:
        gamma: Marginals of every step, (N, K).
        pairs: Expected steps from state to state, (K, K).
        first: Expected first states, (K,).
        log_z: (B,).
    """

    gamma: Tensor
    pairs: Tensor
    first: Tensor
    log_z: Tensor


def smoothed(
    log_first: Tensor, log_step: Tensor, unary: Tensor, length: Tensor, weight: Tensor
) -> Smoothed:
    """All rows' steps under one chain, rows of like lengths together, so that little is spent past their ends.

    Args:
        log_first: (K,).
        log_step: (K, K).
        unary: Steps of all rows, one row after the other, (N, K).
        length: Steps of each row, int64 (B,).
        weight: Of each row, (B,).
    """
    # All rows equally long: one batch, nothing to sort.
    if int(length.min()) == int(length.max()) > 0:
        paths = Paths(log_first, log_step, unary.unflatten(0, (len(length), -1)))
        gamma, pairs = paths.smooth(weight)
        return Smoothed(gamma.flatten(0, 1), pairs, weight.to(gamma) @ gamma[:, 0], paths.log_z)
    # Rows of like length go together; `place` finds their
    # steps in the tensor of all steps, (rows, longest).
    start = length.cumsum(0) - length
    gamma = torch.zeros_like(unary)
    log_z = unary.new_zeros(len(length))
    pairs = torch.zeros_like(log_step)
    first = torch.zeros_like(log_first)
    order = length.argsort(descending=True, stable=True)
    for rows in _alike(length[order]):
        members = order[rows]
        longest = int(length[members].max())
        shortest = int(length[members].min())
        steps = torch.arange(longest, device=unary.device)
        place = (start[members][:, None] + steps).clamp(max=max(len(unary) - 1, 0))
        paths = Paths(
            log_first, log_step, unary[place], length[members] if shortest < longest else None
        )
        marginals, moves = paths.smooth(weight[members])
        inside = steps < length[members][:, None]
        gamma[place[inside]] = marginals[inside]
        pairs = pairs + moves
        first = first + weight[members].to(marginals) @ marginals[:, 0]
        log_z[members] = paths.log_z
    return Smoothed(gamma, pairs, first, log_z)


class _LogSums(torch.autograd.Function):
    """The sums over all paths of rows one after the other, whose E-step is kept as their gradient."""

    @staticmethod
    def forward(
        ctx: Any, log_first: Tensor, log_step: Tensor, unary: Tensor, length: Tensor
    ) -> Tensor:
        ctx.laid = log_first.detach(), log_step.detach(), unary.detach(), length
        ctx.sums = smoothed(log_first, log_step, unary, length, unary.new_ones(len(length)))
        value: Tensor = ctx.sums.log_z
        return value

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        (slope,) = slopes
        sums = ctx.sums
        (first, step, unary, length) = ctx.laid
        # All rows of one slope, as in a sum of log-probabilities:
        # the forward pass has the answer already.
        if bool((slope == slope[:1]).all()):
            return sums.first * slope[0], sums.pairs * slope[0], sums.gamma * slope[0], None
        # Otherwise the expected steps have to be weighted row by row.
        own = smoothed(first, step, unary, length, slope)
        return own.first, own.pairs, own.gamma * slope.repeat_interleave(length)[:, None], None


def log_sums(log_first: Tensor, log_step: Tensor, unary: Tensor, length: Tensor) -> Tensor:
    """The logarithm of each row's sum over all paths, (B,), with its gradient; arguments as of `smoothed`."""
    value: Tensor = _LogSums.apply(log_first, log_step, unary, length)
    return value


def _alike(length: Tensor) -> list[slice]:
    """Rows in falling order of length cut where an eighth of the steps would be idle; rows of no steps left out."""
    parts = []
    start = 0
    sizes = [n for n in length.tolist() if n > 0]
    total = 0
    # A batch is idle where its steps are fewer than rows times its longest row.
    for i, n in enumerate(sizes):
        total += n
        if total < 0.875 * sizes[start] * (i - start + 1):
            parts.append(slice(start, i))
            start = i
            total = n
    if sizes:
        return [*parts, slice(start, len(sizes))]
    return []
