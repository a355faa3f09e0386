"""Documents as bags of words: sparse rows of counts, never a matrix of documents times words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from likeness.core.batch import Batch
from likeness.numerics.draws import inverse_cdf
from likeness.numerics.sparse import by_rows


@dataclass(frozen=True, eq=False)
class Bags:
    """B documents over V words, n pairs of a document and a word in it.

    Args:
        start: Where each document's words begin, int32 (B + 1,).
        word: int32 (n,), rising within a document.
        count: How often the word stands there, (n,).
        words: V.
        hidden: Words whose counts are not known, (B, V) of zeros and ones; None where all are, and
            for sequences, whose hidden words could be any.
    """

    start: Tensor
    word: Tensor
    count: Tensor
    words: int
    hidden: Tensor | None = None

    @classmethod
    def of_sequences(cls, x: Tensor, present: Tensor, words: int) -> Bags:
        """Sequences of codes (B, L), of which some places hold none."""
        # One number for each (document, word): equal
        # numbers are the same word of the same document.
        row, place = present.nonzero(as_tuple=True)
        pair, count = (row * words + x[row, place].long()).unique(return_counts=True)
        return cls(_starts(pair // words, len(x)), (pair % words).int(), count.to(x.dtype), words)

    @classmethod
    def of_counts(cls, x: Tensor, present: Tensor) -> Bags:
        """Vectors of counts (B, V), of which some are not known."""
        row, word = (x * present).nonzero(as_tuple=True)
        if bool(present.all()):
            hidden = None
        else:
            hidden = (~present).to(x.dtype)
        return cls(_starts(row, len(x)), word.int(), x[row, word], x.shape[1], hidden)

    def __len__(self) -> int:
        return len(self.start) - 1

    @cached_property
    def sizes(self) -> Tensor:
        """Different words of each document, int64 (B,)."""
        return self.start.diff().long()

    @cached_property
    def row(self) -> Tensor:
        """The document of each pair, int64 (n,)."""
        return torch.arange(len(self), device=self.word.device).repeat_interleave(self.sizes)

    @cached_property
    def total(self) -> Tensor:
        """Known words of each document, (B,)."""
        return self.sums(self.count)

    def sums(self, values: Tensor) -> Tensor:
        """Numbers of pairs (n,) added up over each document, (B,)."""
        return values.new_zeros(len(self)).index_add(0, self.row, values)

    def products(self, a: Tensor, b: Tensor) -> Tensor:
        """Sum_k a[document, k] b[word, k] of every pair, (n,), for a (B, K) and b (V, K)."""
        # A product of dense matrices evaluated at the pattern of the sparse one only.
        pattern = by_rows(
            self.start,
            self.word,
            torch.zeros_like(self.count, dtype=a.dtype),
            (len(self), self.words),
        )
        return torch.sparse.sampled_addmm(pattern, a, b.T, beta=0.0).values()

    def gathered(self, values: Tensor, b: Tensor) -> Tensor:
        """Sum over a document's words of value times b[word], (B, K), for values (n,) and b (V, K)."""
        return by_rows(self.start, self.word, values, (len(self), self.words)) @ b

    def scattered(self, values: Tensor, a: Tensor) -> Tensor:
        """Sum over a word's documents of value times a[document], (V, K), for values (n,) and a (B, K)."""
        order, start, row = self._by_word
        return by_rows(start, row, values[order], (self.words, len(self))) @ a

    @cached_property
    def _by_word(self) -> tuple[Tensor, Tensor, Tensor]:
        """The pairs word by word: their order, where each word's begin, and the document of each."""
        order = self.word.argsort(stable=True)
        return order, _starts(self.word.long(), self.words), self.row[order].int()

    def take(self, rows: Tensor) -> Bags:
        """Some of the documents, int64 (R,)."""
        # Words of the chosen documents move from where they began to where they begin now.
        size = self.sizes[rows]
        start = size.new_zeros(len(rows) + 1)
        start[1:] = size.cumsum(0)
        shift = (self.start[:-1].long()[rows] - start[:-1]).repeat_interleave(size)
        pair = torch.arange(len(shift), device=shift.device) + shift
        hidden = None if self.hidden is None else self.hidden[rows]
        return replace(
            self, start=start.int(), word=self.word[pair], count=self.count[pair], hidden=hidden
        )

    def repeat(self, n: int) -> Bags:
        """The documents n times over, copy after copy."""
        return self.take(torch.arange(len(self), device=self.word.device).repeat(n))


def seeds(bags: Bags, u: Tensor) -> Tensor:
    """K documents far from each other, int64 (K,), from uniform numbers (K, C).

    k-means++ of square roots of word shares, whose distances are Hellinger's: the best of C
    candidates each, long documents sooner, as short ones lie far from everything by chance (Arthur
    & Vassilvitskii 2007).
    """
    # Greedy k-means++: draw C candidates by squared distance times length, keep the best of them.
    share = (bags.count / bags.total[bags.row]).sqrt()
    long = bags.total.sqrt()
    far = torch.ones_like(bags.total)
    centres = list[Tensor]()
    for each in u:
        cdf = (far.square() * long).cumsum(0)
        picks = inverse_cdf(cdf, each.to(cdf))
        nearer = [torch.minimum(far, _hellinger(bags, share, int(one))) for one in picks]
        best = min(range(len(nearer)), key=lambda i: float(nearer[i].sum()))
        centres = [*centres, picks[best]]
        far = nearer[best]
    return torch.stack(centres)


def _hellinger(bags: Bags, share: Tensor, document: int) -> Tensor:
    """1 - sum_w sqrt(p_w q_w) of each document's word shares p to those q of one, (B,)."""
    # The square roots of one document's shares laid out over the vocabulary.
    own = slice(int(bags.start[document]), int(bags.start[document + 1]))
    root = share.new_zeros(bags.words)
    root[bags.word[own].long()] = share[own]
    return (1 - bags.sums(share * root[bags.word.long()])).clamp(min=0)


def _starts(row: Tensor, rows: int) -> Tensor:
    """Where each row's entries begin, int32 (rows + 1,), from the row of each entry."""
    # Row pointers of compressed sparse rows: 0, then running totals of entries.
    return torch.nn.functional.pad(torch.bincount(row, minlength=rows).cumsum(0), (1, 0)).int()


class LastBags:
    """The bags of the batch that was read last: a pass over all documents reads the same one again.

    Args:
        make: Makes the bags of a batch.
    """

    def __init__(self, make: Callable[[Batch], Bags]) -> None:
        self.make = make
        self.last: tuple[Batch, Bags] | None = None

    def __call__(self, batch: Batch) -> Bags:
        """Those of this batch."""
        if self.last is None or not _same(self.last[0], batch):
            self.last = batch, self.make(batch)
        return self.last[1]


def _same(a: Batch, b: Batch) -> bool:
    """Whether two batches hold the same words."""
    return a.x.shape == b.x.shape and torch.equal(a.x, b.x) and torch.equal(a.present, b.present)
