"""Masked residual nets: every output sees only the variables that come before its own in a declared order.

Everything inside is feature-first, (features, B): the rows of a batch are the fast axis, so that
the features and the hidden units of one step are contiguous, and a product with a block-triangular
matrix is a few products of blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from likeness.core.errors import BadConfig
from likeness.nets.embed import matched

# Rows of a band of a triangular product: n bands skip (1 - 1/n) / 2 of the arithmetic
_BAND_ROWS = 128
_BANDS = 8  # bands beyond which little is left to skip
_BLOCK_UNITS = 32  # hidden units of a layer that a stepper brings up to date by one product
_Band = tuple[slice, slice]  # rows, and the columns that they see
_SILU_GAIN = 1.68  # 1 / sqrt(E silu(z)^2), z standard normal: keeps the variance of pre-activations


class MaskedNet(nn.Module):
    """Masked residual net (Germain et al. 2015, arXiv:1502.03509; Nash & Durkan 2019, arXiv:1904.05626).

        h_1 = W_1 x + b_1 + C_1 c,  h_k = [h_{k-1} +] W_k silu(h_{k-1}) + b_k + C_k c,  y = V silu(h_K) + S x + b + C c

    where [h_{k-1} +] stands if `residual` and both widths are equal. W, V and the direct path S are
    masked. The outputs of position i see positions max(0, i - window)..i-1 of the order; a hidden
    unit of degree m sees max(0, m - window)..m-1; u may feed w iff what u sees lies within what w
    may see. Without a window this is MADE's rule that degrees never fall; with one, units past the
    first `window` positions are joined at equal degree only. Units are spread evenly over the
    degrees: a window wants at least one unit per variable in each layer.

    Args:
        inputs: Features that each of the D variables owns.
        outputs: Outputs for each of the D variables.
        order: order[i] is the variable at position i; None is 0..D-1.
        hidden: Widths of the hidden layers; none of them leaves y = S x + b + C c.
        residual: Whether a layer adds to the one below it where the widths are equal.
        context: Features C of a conditioning vector that every unit and output sees, 0 for none.
        window: How many previous positions an output sees: None for all, 0 for none, 1 for a Markov
            chain.
    """

    into: Tensor
    out_of: Tensor

    def __init__(
        self,
        inputs: Sequence[int],
        outputs: Sequence[int],
        *,
        order: Sequence[int] | None = None,
        hidden: Sequence[int] = (),
        residual: bool = True,
        context: int = 0,
        window: int | None = None,
    ) -> None:
        super().__init__()
        self.order = tuple(range(len(inputs)) if order is None else order)
        _check(self.order, inputs, outputs, window)
        self.context = context
        self.window = window
        self.hidden = tuple(hidden)
        self.in_sizes, self.out_sizes = (
            tuple(inputs[v] for v in self.order),
            tuple(outputs[v] for v in self.order),
        )
        self.sorted = self.order == tuple(range(len(inputs)))
        self.register_buffer("into", _rows_of(inputs, self.order), persistent=False)
        self.register_buffer("out_of", _rows_of(outputs, self.order).argsort(), persistent=False)

        # Units of degree 0 see the context alone.
        blind = context > 0 or window == 0 or len(inputs) == 1
        last = 0 if window == 0 else len(inputs) - 1
        degrees = [_spread(width, 0 if blind else 1, last) for width in hidden]
        # How many units each layer has of each degree.
        self.counts = [degree.bincount(minlength=len(inputs)).tolist() for degree in degrees]
        # Spans of positions that features are of, that
        # outputs see, and that units of each degree see.
        at = torch.arange(len(inputs))
        features = torch.stack([at, at + 1]).repeat_interleave(torch.tensor(self.in_sizes), 1)
        targets = _span(at.repeat_interleave(torch.tensor(self.out_sizes)), window)
        levels = [features, *(_span(degree, window) for degree in degrees)]
        self.adds = tuple(
            k > 0 and residual and hidden[k] == hidden[k - 1] for k in range(len(hidden))
        )
        # Residual branches start scaled by their number, plain layers at unit variance.
        gains = [
            1.0,
            *(_SILU_GAIN / (len(hidden) ** 0.5 if adds else 1.0) for adds in self.adds[1:]),
        ]
        # the first units' thresholds lie among the data; outputs start near the distribution of their biases
        self._layers = nn.ModuleList(
            _Masked(_feeds(a, b), context, gain=gain, spread=0.5 * (a is features))
            for (a, b), gain in zip(pairwise(levels), gains, strict=False)
        )
        self.skip = _Masked(_feeds(features, targets), context, gain=0.1, spread=0.0)
        self.top = (
            _Masked(_feeds(levels[-1], targets), 0, gain=0.1 * _SILU_GAIN, spread=None)
            if hidden
            else None
        )

    @property
    def layers(self) -> list[_Masked]:
        """The hidden layers."""
        return cast("list[_Masked]", list(self._layers))

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Outputs (B, sum outputs) for features x (B, sum inputs), both laid out by variable, and context (B, C)."""
        if self.sorted:
            return self.ordered(x.t(), context).t()
        return self.ordered(x.t()[self.into], context)[self.out_of].t()

    def ordered(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The same laid out by position and feature-first: x (sum inputs, B) -> (sum outputs, B)."""
        context = matched(context, self.context)
        c = None if context is None else context.t()
        # h_k = [h_{k-1} +] W_k silu(h_{k-1}) + b_k + C_k c, then y = V silu(h_K) + S x + b + C c.
        h = source = x
        for layer, adds in zip(self.layers, self.adds, strict=True):
            start = layer.start(c)
            h = layer(source, start + h if adds else start)
            source = F.silu(h)
        y = self.skip(x, self.skip.start(c))
        if self.top is None:
            return y
        return self.top(source, y)

    def stepper(self, rows: int, context: Tensor | None = None) -> MaskedStepper:
        """A walk along the order for `rows` rows at once, for sampling and completion."""
        return MaskedStepper(self, rows, matched(context, self.context))

    def silence(self) -> MaskedNet:
        """Set what leads to the outputs to zero, so that a new net's outputs are 0 for every input."""
        with torch.no_grad():
            for last in (self.skip, self.top):
                for parameter in () if last is None else last.parameters():
                    parameter.zero_()
        return self


class MaskedStepper:
    """A masked net evaluated one position at a time, without gradients: each hidden unit is computed once.

    At position i only the units of degree i are computed, from activations that are there already.
    Positions are taken in blocks: what lies before a block reaches its units and outputs by one
    product each, and inside the block only short products are left. A whole run costs about one
    forward pass of the net. Ask `params` for the outputs of the next variable, then `push` its
    features; a variable that is given may be pushed without asking.

    Args:
        net: The net.
        rows: Rows R that are carried along.
        context: Conditioning vector (R, C), or None.
    """

    @torch.no_grad()
    def __init__(self, net: MaskedNet, rows: int, context: Tensor | None) -> None:
        # Outputs, inputs and hidden layers as tensors that the walk fills in place.
        c = None if context is None else context.t()
        length = len(net.order)
        self._out = _Rows(net.skip.rows(c, rows), net.out_sizes)
        self._x = _Rows(self._out.value.new_zeros(sum(net.in_sizes), rows), net.in_sizes)
        self._hidden = [
            _Rows(layer.rows(c, rows), n) for layer, n in zip(net.layers, net.counts, strict=True)
        ]
        # a layer that the next one adds to keeps its pre-activations apart; zeros, as blocks read what is not there yet
        targets = zip(self._hidden, [*net.adds[1:], False], strict=False)
        self._active = [
            _Rows(torch.zeros_like(h.value), h.sizes) if keep else h for h, keep in targets
        ]
        # Each layer's product from what feeds it, and the outputs' two: direct path and last layer.
        sources = [self._x, *self._active]
        self._layers = [
            _Product(layer, source, target, net.window)
            for layer, source, target in zip(net.layers, sources, self._hidden, strict=False)
        ]
        self._outputs = [_Product(net.skip, self._x, self._out, net.window)]
        if net.top is not None:
            self._outputs.append(_Product(net.top, sources[-1], self._out, net.window))
        self._adds = net.adds
        # nothing older than the window reaches a position, unless units that see no variable feed all others
        if net.window is None or net.context or not net.window:
            self._window = length
        else:
            self._window = net.window
        # Positions of a block: so many that a layer has about _BLOCK_UNITS units in it.
        self._size = max(1, _BLOCK_UNITS * length // max([*net.hidden, length]))
        self.position = 0
        self._asked = -1  # the last position whose outputs are complete
        self._done = 0  # units of a lower degree are computed
        self._base = self._end = 0  # the open block: what comes from before it is accounted for

    def params(self) -> Tensor:
        """Outputs (R, outputs) of the variable at the present position."""
        return self.ask().t()

    def push(self, features: Tensor) -> None:
        """Say what the variable at the present position is, features (R, inputs), and go to the next position."""
        self.tell(features.t(), 1)

    def push_many(self, features: Tensor, count: int) -> None:
        """Say what the next `count` variables are: features (R, sum of their inputs), in the sequence of the order."""
        self.tell(features.t(), count)

    @torch.no_grad()
    def ask(self) -> Tensor:
        """`params` feature-first, (outputs, R)."""
        i = self.position
        if self._asked < i:
            self._reach(i + 1)
            for product in self._outputs:
                product.inside(i - self._base)
            self._asked = i
        return self._out[i, i + 1]

    @torch.no_grad()
    def tell(self, features: Tensor, count: int = 1) -> None:
        """`push_many` feature-first, (sum of inputs, R)."""
        self._x[self.position, self.position + count].copy_(features)
        self.position += count

    def _reach(self, degree: int) -> None:
        """Compute all units below a degree."""
        # Unit by unit of the open block; a new block where it is used up.
        while self._done < degree:
            if self._done == self._end:
                if degree - self._done > self._size:
                    self._leap(degree - 1)
                self._open()
            for k, product in enumerate(self._layers):
                product.inside(self._done - self._base)
                self._activate(k, self._done, self._done + 1)
            self._done += 1

    def _open(self) -> None:
        """Begin a block: add to its units and outputs all that comes from before it."""
        self._end = min(self._done + self._size, len(self._x.sizes))
        self._base = self._done
        # The part of every product that comes from before the block, at once.
        for product in (*self._layers, *self._outputs):
            product.before(self._base, self._end, max(0, self._base - self._window))

    def _leap(self, degree: int) -> None:
        """Compute the units below a degree together: nobody will ask about the positions up to it."""
        low = self._done
        first = max(0, self._done - self._window)
        # Positions that were pushed without being asked about: whole products.
        for k, product in enumerate(self._layers):
            product.add(low, degree, first, degree)
            self._activate(k, low, degree)
        self._done = self._end = degree

    def _activate(self, k: int, low: int, high: int) -> None:
        """Finish the units of degrees low..high-1 of layer k, whose products are complete."""
        # Pre-activations complete: add the layer below where residual, then silu.
        rows = self._hidden[k][low, high]
        if self._adds[k]:
            rows += self._hidden[k - 1][low, high]
        if self._active[k] is self._hidden[k]:
            active = rows
        else:
            active = self._active[k][low, high].copy_(rows)
        F.silu(active, inplace=True)


class _Rows:
    """Rows of a feature-first tensor, in groups by position or degree: rows[a, b] are those of groups a..b-1."""

    def __init__(self, value: Tensor, sizes: Sequence[int]) -> None:
        self.value = value
        self.sizes = list(sizes)
        self.starts = _offsets(sizes)
        self._single = value.split(self.sizes)

    def __getitem__(self, groups: tuple[int, int]) -> Tensor:
        first, stop = groups
        if stop == first + 1:
            return self._single[first]
        return self.value[self.starts[first] : self.starts[stop]]


class _Product:
    """A masked product that a walk adds up piece by piece, target += (weight * mask) source."""

    def __init__(self, layer: _Masked, source: _Rows, target: _Rows, window: int | None) -> None:
        self._weight = layer.weight
        self._mask = layer.mask
        self._source = source
        self._target = target
        self._all_earlier = window is None  # what comes before a block is then seen by all of it
        self._pieces: list[tuple[Tensor, Tensor]] = []
        self._block = source.value

    def add(self, low: int, high: int, first: int, stop: int) -> None:
        """Add to target groups low..high-1 what source groups first..stop-1 say."""
        # Only groups within the mask have weights.
        weight = self._part(low, high, first, stop)
        if weight.numel():
            self._target[low, high].addmm_(weight, self._source[first, stop])

    def before(self, base: int, end: int, first: int) -> None:
        """Begin the block of groups base..end-1 with what source groups first..base-1 say."""
        self.add(base, end, first, base)
        # Inside the block: one slice of weights for each of its groups.
        inside = self._part(base, end, base, end).split_with_sizes(self._target.sizes[base:end])
        self._pieces = [(self._target[i, i + 1], weight) for i, weight in enumerate(inside, base)]
        self._block = self._source[base, end]

    def inside(self, i: int) -> None:
        """Add the block's contribution to its i-th group: sources still to come have no weight for it."""
        target, weight = self._pieces[i]
        if weight.numel():
            target.addmm_(weight, self._block)

    def _part(self, low: int, high: int, first: int, stop: int) -> Tensor:
        rows = slice(self._target.starts[low], self._target.starts[high])
        columns = slice(self._source.starts[first], self._source.starts[stop])
        weight = self._weight[rows, columns]
        if self._all_earlier and stop <= low:
            return weight
        return weight * self._mask[rows, columns]


class _Masked(nn.Module):
    """A layer of masked weights, with a bias and a part of the context that every output sees; feature-first."""

    mask: Tensor

    def __init__(self, mask: Tensor, context: int, *, gain: float, spread: float | None) -> None:
        super().__init__()
        fan_in = mask.sum(1, keepdim=True).clamp(
            min=1
        )  # what a unit sees, not the width of the layer below
        self.weight = nn.Parameter(torch.randn(mask.shape) * mask * gain / fan_in.sqrt())
        if spread is None:
            self.bias = None
        else:
            self.bias = nn.Parameter(torch.randn(len(mask)) * spread)
        self.side = (
            nn.Parameter(torch.randn(len(mask), context) * gain / context**0.5) if context else None
        )
        self.register_buffer("mask", mask.to(self.weight.dtype), persistent=False)
        self.bands = _bands(mask)

    def start(self, c: Tensor | None) -> Tensor:
        """What there is before any variable is seen, b + C c: (n_out, B) for c (C, B), (n_out, 1) without one."""
        if self.bias is None:
            base = self.weight.new_zeros(len(self.weight), 1)
        else:
            base = self.bias[:, None]
        if c is None or self.side is None:
            return base
        return torch.addmm(base, self.side, c)

    def rows(self, c: Tensor | None, rows: int) -> Tensor:
        """`start` for `rows` rows, in memory of its own."""
        return self.start(c).expand(-1, rows).clone(memory_format=torch.contiguous_format)

    def forward(self, x: Tensor, base: Tensor) -> Tensor:
        """(n_out, B) for x (n_in, B) and base (n_out, B or 1)."""
        weight = self.weight * self.mask
        if len(self.bands) == 1:
            return torch.addmm(base, weight, x)
        if torch.is_autocast_enabled(x.device.type):
            low = torch.get_autocast_dtype(x.device.type)
            base = base.to(low)
            weight = weight.to(low)
            x = x.to(low)
        return cast(Tensor, _Banded.apply(base, weight, x, self.bands))


class _Banded(torch.autograd.Function):
    """Calculates base + W x from the blocks of W outside of which it is zero, in both directions."""

    @staticmethod
    def forward(base: Tensor, weight: Tensor, x: Tensor, bands: Sequence[_Band]) -> Tensor:
        y = x.new_empty(len(weight), x.shape[1])
        for rows, columns in bands:
            torch.addmm(base[rows], weight[rows, columns], x[columns], out=y[rows])
        return y

    @staticmethod
    def setup_context(
        ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, Sequence[_Band]], output: Tensor
    ) -> None:
        base, weight, x, ctx.bands = inputs
        ctx.broadcast = base.shape[1] == 1
        ctx.save_for_backward(weight, x)

    @staticmethod
    def backward(
        ctx: Any, grad: Tensor
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        weight, x = ctx.saved_tensors
        to_base, to_weight, to_x, _ = ctx.needs_input_grad
        d_weight = torch.zeros_like(weight) if to_weight else None
        d_x = torch.zeros_like(x) if to_x else None
        for rows, columns in ctx.bands:
            if d_weight is not None:
                d_weight[rows, columns].addmm_(grad[rows], x[columns].t())
            if d_x is not None:
                d_x[columns].addmm_(weight[rows, columns].t(), grad[rows])
        d_base = grad.sum(1, keepdim=True) if ctx.broadcast else grad
        return d_base if to_base else None, d_weight, d_x, None


def _spread(width: int, first: int, last: int) -> Tensor:
    """Degrees (width,) of hidden units, sorted, as even as can be over first..last."""
    return first + torch.arange(width) * (last - first + 1) // max(width, 1)


def _span(degree: Tensor, window: int | None) -> Tensor:
    """First and one-past-last position that a degree sees, (2, n); (0, 0) where it sees none."""
    if window is None:
        low = torch.zeros_like(degree)
    else:
        low = (degree - window).clamp(min=0)
    return torch.stack([low, degree]) * (low < degree)


def _feeds(source: Tensor, target: Tensor) -> Tensor:
    """Which source may feed which target, bool (n_target, n_source): its span is empty or lies within the other's."""
    (a, b) = source
    (low, high) = target[:, :, None]
    return (a == b) | ((low <= a) & (b <= high))


def _bands(mask: Tensor) -> list[_Band]:
    """Blocks of rows and columns outside of which a mask is zero; the whole where cutting does not pay."""
    count = min(_BANDS, mask.shape[0] // _BAND_ROWS)
    starts = [mask.shape[0] * i // max(count, 1) for i in range(count + 1)]
    bands = [(slice(a, b), _extent(mask[a:b].any(0))) for a, b in pairwise(starts)]
    work = sum((rows.stop - rows.start) * (columns.stop - columns.start) for rows, columns in bands)
    if count > 1 and work < 0.85 * mask.numel():
        return bands
    return [(slice(0, mask.shape[0]), slice(0, mask.shape[1]))]


def _extent(mask: Tensor) -> slice:
    """From the first to the last true entry; empty where there is none."""
    where = mask.nonzero()
    if len(where):
        return slice(int(where[0]), int(where[-1]) + 1)
    return slice(0, 0)


def _offsets(sizes: Sequence[int]) -> list[int]:
    """Where each block of rows begins, and the end: len(sizes) + 1 numbers."""
    return [0, *accumulate(sizes)]


def _rows_of(sizes: Sequence[int], order: Sequence[int]) -> Tensor:
    """Rows of a variable-wise layout in the sequence of the order."""
    starts = _offsets(sizes)
    return torch.tensor(
        [row for v in order for row in range(starts[v], starts[v + 1])], dtype=torch.int64
    )


def _check(
    order: Sequence[int], inputs: Sequence[int], outputs: Sequence[int], window: int | None
) -> None:
    if sorted(order) != list(range(len(inputs))) or len(outputs) != len(inputs) or not inputs:
        raise BadConfig(
            f"a masked net of {len(inputs)} inputs and {len(outputs)} outputs cannot take the order {list(order)[:9]}",
            do="give inputs, outputs and order one entry for each variable, the order a permutation of 0..D-1",
        )
    if window is not None and window < 0:
        raise BadConfig(f"a window of {window} positions", do="give None for all, or 0 or more")
