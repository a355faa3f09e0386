"""Forward and backward recursions over states in scaled probabilities, step by step or in blocks of a few long rows.

Legend: B rows, L steps, K states; tensors are laid out step by step, (L, B, K).
"""

from __future__ import annotations

import torch
from torch import Tensor


def forward(e: Tensor, step: Tensor, now: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """p(z_t | up to t), (L, B, K), and each step's factor (L, B), from predictions `now` of the first step (all 1)."""
    # alpha_t(k) = e_t(k) sum_j alpha_{t-1}(j) A_jk / c_t: each step
    # is divided by its sum c_t, so that no product underflows however
    # long the row, and sum_t log c_t is log p(x) (Rabiner 1989, V.A).
    alpha = torch.empty_like(e)
    c = e.new_empty(*e.shape[:-1], 1)
    if now is None:
        now = torch.ones_like(e[0])
    for here, lit, factor in zip(alpha, e, c, strict=True):
        torch.mul(now, lit, out=here)
        torch.sum(here, -1, keepdim=True, out=factor)
        here.div_(factor)
        now = here @ step
    return alpha, c[..., 0]


def backward(
    ahead: Tensor, step: Tensor, ended: Tensor | None, beta: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """p(later | z_t) / p(later | up to t), (L, B, K), and the same times `ahead`; 1 past the end."""
    out = torch.empty_like(ahead)
    w = torch.empty_like(ahead)
    # beta_{t-1}(j) = sum_k A_jk (e_t(k) / c_t) beta_t(k): the forward factors keep beta near 1.
    # Past a row's end the emission is 0, and `ended` adds the 1 with which the recursion begins
    # at the end.
    back = step.T.contiguous()
    out[-1] = 1.0 if beta is None else beta
    here = out.unbind(0)
    lit = ahead.unbind(0)
    product = w.unbind(0)
    for t in range(len(ahead) - 1, -1, -1):
        torch.mul(lit[t], here[t], out=product[t])
        if t:
            torch.mm(product[t], back, out=here[t - 1])
            if ended is not None:
                here[t - 1].add_(ended[t])
    return out, w


class Folded:
    """The same recursions with a few long rows cut into S blocks of M steps, all of which go ahead together.

    A first sweep finds the transfer matrix of each block, from the state before it to its last state (K rows);
    a walk over the blocks then gives the distribution that each begins with, and a second sweep runs from there.

    Args:
        e: (L, B, K), 1 where nothing is said.
        step: (K, K), rows that add up to 1.
        blocks: S.
    """

    def __init__(self, e: Tensor, step: Tensor, blocks: int) -> None:
        self.steps, self.rows, self.k = e.shape
        self.step = step
        self.blocks = blocks
        # The last block is filled up with steps that emit 1 and change no sum.
        self.size = -(-self.steps // blocks)
        self.e = self._fold(e)
        self.transfer, self.scale = self._transfers()
        self.ends = self._walk()

    def _fold(self, t: Tensor) -> Tensor:
        """(L, B, ...) as (M, S * B, ...), 1 where steps were added."""
        pad = t.new_ones(self.size * self.blocks - self.steps, *t.shape[1:])
        return (
            torch.cat([t, pad]).unflatten(0, (self.blocks, self.size)).transpose(0, 1).flatten(1, 2)
        )

    def _unfold(self, t: Tensor) -> Tensor:
        return t.unflatten(1, (self.blocks, self.rows)).transpose(0, 1).flatten(0, 1)[: self.steps]

    def _transfers(self) -> tuple[Tensor, Tensor]:
        """Each block's transfer matrix, its rows scaled to sum to 1, (S, B, K, K), and their log scales (S, B, K)."""
        # (blocks, rows, states before, states): one forward
        # recursion for every state that a block may begin in.
        now = self.step.expand(self.blocks, self.rows, -1, -1).clone()
        now[0] = 1.0  # nothing is before the first block, whose first step holds p(z_1)
        now = now.flatten(0, 1)
        # Scales stay in logarithms, for a state before the
        # block may explain it worse by hundreds of nats.
        scale = self.e.new_zeros(self.blocks * self.rows, self.k)
        then = torch.empty_like(now)
        for m, lit in enumerate(self.e):
            if m:
                torch.mm(now.view(-1, self.k), self.step, out=then.view(-1, self.k))
                now, then = then, now
            now.mul_(lit[:, None])
            if m % 2 or m == self.size - 1:  # two steps leave LEAST squared at least
                total = now.sum(-1)
                now.div_(total[..., None])
                scale.add_(total.log_())
        parts = (self.blocks, self.rows)
        return now.unflatten(0, parts), scale.unflatten(0, parts)

    def _from(self, s: int) -> Tensor:
        """Block s's transfer matrix with its scales, up to a constant of the row, (B, K, K)."""
        # The least unlikely state before the block gets
        # factor 1; what underflows beside it has no weight.
        scale = self.scale[s]
        return self.transfer[s] * (scale - scale.amax(-1, keepdim=True)).exp()[..., None]

    def _walk(self) -> Tensor:
        """The distribution of each block's last state given what came, (S, B, K)."""
        # alpha at a block's end = alpha at the end of the
        # block before, times the block's transfer matrix.
        ends = [self.transfer[0, :, 0]]
        for s in range(1, self.blocks):
            now = (ends[-1][:, None] @ self._from(s))[:, 0]
            ends.append(now / now.sum(-1, keepdim=True))
        return torch.stack(ends)

    def forward(self) -> tuple[Tensor, Tensor]:
        """As `forward` does."""
        # Each block's prediction of its first step: the alpha before it, moved by one transition.
        start = torch.cat([torch.ones_like(self.ends[:1]), self.ends[:-1] @ self.step])
        alpha, c = forward(self.e, self.step, start.flatten(0, 1))
        return self._unfold(alpha), self._unfold(c)

    def backward(self, ahead: Tensor, ended: Tensor | None) -> tuple[Tensor, Tensor]:
        """As `backward` does."""
        # beta at a block's end comes from the blocks behind it, last to
        # first, through their transfer matrices; it is scaled so that
        # sum_k alpha(k) beta(k) = 1, as it is in the plain recursion.
        last = [torch.ones_like(self.ends[0])]
        for s in range(self.blocks - 1, 0, -1):
            now = (self._from(s) @ last[-1][..., None])[..., 0]
            last.append(now / (self.ends[s - 1] * now).sum(-1, keepdim=True))
        start = torch.stack(last[::-1]).flatten(0, 1)
        # Past a row's end the step emits 1 rather than 0:
        # the transitions add up to 1, so beta stays 1.
        if ended is None:
            over = self._fold(ahead)
        else:
            over = self._fold(ahead + ended)
        beta, w = backward(over, self.step, None, start)
        w = self._unfold(w)
        return self._unfold(beta), w if ended is None else w * (1 - ended)
