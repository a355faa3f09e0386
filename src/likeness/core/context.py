"""What `given` is to a family: a fixed numeric summary here, networks in likeness.nets.context."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from likeness.core.batch import Batch, missing
from likeness.core.preprocessor import Source, standardised
from likeness.core.space import Space, Variable

FEW = 64  # categories of one column among several up to which a summary counts them


class Summary(nn.Module):
    """The fixed summary of a condition, (B, C).

    A label is one-hot, a vector itself and an image its pixels, standardised; tokens are counts and
    their number, and steps of several columns the means of numbers, the counts of categories where
    these are few, and their number.

    Hidden entries are 0 and a mask of what is present can be had beside it (`mask`), same shape.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, space: Space) -> None:
        super().__init__()
        self.space = space
        self.coded = any(v.type == "nominal" for v in space.columns)
        self.size = self._raw_size()
        self.register_buffer("mean", torch.zeros(self.size))
        self.register_buffer("std", torch.ones(self.size))

    def _raw_size(self) -> int:
        if self.space.ragged:
            return sum(self._per_step()) + 1
        return sum(_width(v) for v in self.space.columns) * (self.space.dims // self.space.width)

    def fit(self, source: Source) -> None:
        """Mean and scale of the summary's real entries over the training split; one-hots stay as they are."""
        batches = [b.given for b in source.chunks(65536) if b.given is not None]
        raw = torch.cat([self.raw(b) for b in batches])
        mask = torch.cat([self.mask(b) for b in batches])
        mean, std = standardised(raw, mask, raw.new_ones(len(raw)))
        scaled = self._scaled_entries()
        self.mean = torch.where(scaled, mean, torch.zeros_like(mean)).to(self.mean)
        self.std = torch.where(scaled, std, torch.ones_like(std)).to(self.std)

    def forward(self, given: Batch) -> Tensor:
        """The standardised summary, 0 where hidden, (B, C)."""
        standard = (self.raw(given) - self.mean).div_(self.std)
        if given.observed is None and not self.space.ragged:
            return standard
        return standard * self.mask(given)

    def raw(self, given: Batch) -> Tensor:
        """The summary in data units, (B, C)."""
        if self.space.ragged:
            return self._ragged(given)
        if not self.coded:
            return given.x.flatten(1)
        flat = given.x.reshape(-1, self.space.width)
        parts = [_numbers(flat[:, i], v) for i, v in enumerate(self.space.columns)]
        return torch.cat(parts, -1).reshape(len(given), self.size)

    def mask(self, given: Batch) -> Tensor:
        """Which entries of the summary are known, 0 or 1, (B, C)."""
        if self.space.ragged:
            known = given.present.flatten(1).any(-1, keepdim=True)
            return known.to(given.x.dtype).expand(-1, self.size)
        if not self.coded:
            return given.present.flatten(1).to(given.x.dtype)
        flat = given.present.reshape(-1, self.space.width).to(given.x.dtype)
        widths = torch.tensor([_width(v) for v in self.space.columns], device=flat.device)
        return flat.repeat_interleave(widths, -1).reshape(len(given), self.size)

    def _per_step(self) -> list[int]:
        """Numbers that tell of each column of a step: its categories' counts, or a mean; none of a wide vocabulary."""
        if len(self.space.shape) == 1:
            return [_width(self.space.variables[0])]
        return [w if (w := _width(v)) <= FEW else 0 for v in self.space.columns]

    def _ragged(self, given: Batch) -> Tensor:
        x, present = (t if t.dim() > 2 else t[..., None] for t in (given.x, given.present))
        length = present.any(-1).sum(-1, keepdim=True).to(x.dtype)
        parts = []
        for i, (width, v) in enumerate(zip(self._per_step(), self.space.columns, strict=True)):
            # A real entry gives its mean over observed steps, a code its counts of each category.
            here = present[..., i].to(x.dtype)
            if v.type != "nominal":
                parts.append((x[..., i] * here).sum(1, keepdim=True) / length.clamp(min=1))
            elif width:
                hot = nn.functional.one_hot(x[..., i].long().clamp(0, width - 1), width).to(x.dtype)
                parts.append((hot * here[..., None]).sum(1))
        # The length tells a short sequence from a sparse one.
        return torch.cat([*parts, length], -1)

    def _scaled_entries(self) -> Tensor:
        if self.space.ragged:
            return torch.ones(self.size, dtype=torch.bool)
        flags = [v.type != "nominal" for v in self.space.columns for _ in range(_width(v))]
        return torch.tensor(flags).repeat(self.space.dims // self.space.width)


class Joined(nn.Module):
    """x and what is given as one vector v = (x, summary), and a label as classes that rows belong to.

    Args:
        space: What x is, in model units.
        given_space: What is given, or None.
        per_class: Whether a label stands for classes rather than for numbers of v.

    Attributes:
        dims: How many numbers of v are x.
        size: How many it has in all.
        classes: How many classes there are, 1 without a label.
    """

    def __init__(self, space: Space, given_space: Space | None, *, per_class: bool) -> None:
        super().__init__()
        self.given_space = given_space
        self.per_class = per_class
        self.summary = Summary(given_space) if given_space is not None and not per_class else None
        self.dims = space.dims
        self.size = self.dims + (self.summary.size if self.summary else 0)
        if given_space is not None and per_class:
            self.classes = given_space.label or 1
        else:
            self.classes = 1

    def fit(self, source: Source) -> None:
        """Location and scale of what is given."""
        if self.summary is not None:
            self.summary.fit(source)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """v and what of it is known, (B, size)."""
        x = batch.x.flatten(1)
        present = batch.present.flatten(1)
        if self.summary is None:
            return x, present
        # v = (x, summary), and which of its entries are observed, (B, dims + size).
        given = self.given(batch)
        return torch.cat([x, self.summary(given)], -1), torch.cat(
            [present, self.summary.mask(given) > 0], -1
        )

    def alone(self, known: Tensor) -> Tensor:
        """What is known of the condition alone."""
        return known & (torch.arange(known.shape[-1], device=known.device) >= self.dims)

    def given(self, batch: Batch) -> Batch:
        """What is given, all hidden where nothing is."""
        if batch.given is not None or self.given_space is None:
            return batch.condition
        return missing(self.given_space, len(batch), batch.x)

    def hot(self, batch: Batch, prior: Callable[[], Tensor]) -> Tensor:
        """Which class each row is of, one-hot (B, K); a missing label belongs to all by the prior (K,)."""
        if not self.per_class:
            return batch.x.new_ones(len(batch), 1)
        # One-hot by the observed code; the class prior where the label is missing, (B, K).
        given = self.given(batch)
        code = self._codes(given)
        hot = batch.x.new_zeros(len(code), self.classes).scatter_(1, code[:, None], 1.0)
        if given.full:
            return hot
        return torch.where(given.present.flatten(1)[:, :1], hot, prior().to(batch.x))

    def code(self, batch: Batch, prior: Callable[[], Tensor]) -> Tensor:
        """Which class each row is of, int64 (B,); the likeliest by the prior where its label is missing."""
        if self.per_class and batch.given is not None and batch.given.full:
            return self._codes(batch.given)
        return self.hot(batch, prior).argmax(-1)

    def _codes(self, given: Batch) -> Tensor:
        return given.x.flatten(1)[:, 0].long().clamp(0, self.classes - 1)

    def whole(self, batch: Batch) -> bool:
        """Whether no entry and no class is missing."""
        if self.per_class and (batch.given is None or not batch.given.full):
            return False
        if self.summary is None and batch.observed is None and batch.length is None:
            return True
        return bool(self(batch)[1].all())


def _numbers(column: Tensor, variable: Variable) -> Tensor:
    """A column (B,) of a condition as numbers: one-hot codes, or itself, (B, W)."""
    if variable.type != "nominal":
        return column[:, None]
    width = _width(variable)
    return nn.functional.one_hot(column.long().clamp(0, width - 1), width).to(column)


def _width(variable: Variable) -> int:
    """Numbers that stand for one entry of a condition."""
    if variable.type == "nominal":
        return int(variable.states)
    return 1
