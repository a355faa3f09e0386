"""Items as points, so that distances mean something: entries on a common scale, or features of a small net.

The net is ours: a convolutional classifier of scikit-learn's 8x8 digits, trained once and stored
with its hash, so that the same features stand behind every report. All other items are compared by
their entries, and images by their pixels; the report says which.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import final

import torch
from torch import Tensor, nn

from likeness.core.ambient import Seeded
from likeness.core.batch import Batch
from likeness.core.context import Summary
from likeness.core.errors import BadStore
from likeness.core.files import write_atomic
from likeness.core.preprocessor import standardised
from likeness.core.space import Space
from likeness.data.source import Source
from likeness.registry import reading, store

STORED = "digits.safetensors"
DIGEST = "b0035e6b4bd4d00d2a67b91cde28c5450ce4e31cb04e6592d253614569160996"
LEVELS = 17
MOST_PLACES = 4096  # numbers a sequence may take for the audit
BIGRAMS = 32  # symbols up to which pairs of neighbours are counted
CHUNK = 4096


@dataclass(frozen=True, eq=False)
class View:
    """How items become points.

    Args:
        entries: (Batch) -> every entry on a common scale, (B, D): what classifiers see.
        features: (Batch) -> (B, F): what distances are taken in.
        items: (Batch) -> (B, I), which no two unlike items share: what the audit sees.
        of_entries: What `entries` are, in words.
        of_features: What `features` are, in words, with the hash of a net.
        of_items: What `items` are, in words.
        condition: (Batch) -> a summary of what is given, (B, C), or None where nothing is.
    """

    entries: Callable[[Batch], Tensor]
    features: Callable[[Batch], Tensor]
    items: Callable[[Batch], Tensor]
    of_entries: str
    of_features: str
    of_items: str
    condition: Callable[[Batch], Tensor] | None = None

    def joint_entries(self, batch: Batch) -> Tensor:
        """Entries beside a summary of what is given, (B, D + C)."""
        return self._beside(self.entries(batch), batch)

    def joint_features(self, batch: Batch) -> Tensor:
        """Features beside a summary of what is given, (B, F + C)."""
        return self._beside(self.features(batch), batch)

    def _beside(self, points: Tensor, batch: Batch) -> Tensor:
        if self.condition is None or batch.given is None:
            return points
        return torch.cat([points, self.condition(batch.given)], 1)


def view(train: Source) -> View:
    """How the items of this training part become points; scales are taken from it alone."""
    space = train.space
    batch = train.batch
    entries, words = _entries(space, batch)
    items, of_items = (
        (_places(space), "every symbol in its place") if _symbolic(space) else (entries, words)
    )
    condition = _condition(train)
    if condition is not None:
        beside = " beside a summary of what is given"
    else:
        beside = ""
    features = entries
    of_features = words
    if train.name == "digits" and space.layout == (1, 8, 8) and space.variables[0].states == LEVELS:
        features = digit_features
        of_features = f"32 features of a small net trained on digits (sha256 {DIGEST[:12]})"
    return View(entries, features, items, words + beside, of_features + beside, of_items, condition)


# ---- entries on a common scale -------------------------------------------------------------------


def _entries(space: Space, batch: Batch) -> tuple[Callable[[Batch], Tensor], str]:
    if _symbolic(space):
        return _symbols(space), "shares of symbols and of neighbouring pairs, and the length"
    if len(space.shape) == 1 and not space.ragged:
        return _columns(space, batch), "columns, real ones standardised and nominal ones one-hot"
    if space.axes[0] == "channel" and not space.real:
        return _scaled(0.0, max(space.variables[0].states - 1, 1.0)), "pixels, scaled to 0..1"
    x = batch.x.double()
    known = batch.present
    mean = float(x[known].mean())
    std = float(x[known].std()) or 1.0
    return _with_length(_scaled(mean, std), space), "entries, standardised by one mean and scale"


def _symbolic(space: Space) -> bool:
    return space.ragged and len(space.shape) == 1 and space.variables[0].type == "nominal"


def _places(space: Space) -> Callable[[Batch], Tensor]:
    """Symbols as the corners of a simplex, so that the squared distance is the number of unlike places, ends included.

    Long sequences of many symbols fall back on whole-numbered codes, which keep unlike items apart.
    """
    k = int(space.variables[0].states) + 1
    longest = space.layout[0]

    def items(batch: Batch) -> Tensor:
        codes = torch.where(batch.present, batch.x.long() + 1, 0)
        if k * longest > MOST_PLACES:
            return codes.double()
        return nn.functional.one_hot(codes, k).flatten(1).double() / 2**0.5

    return items


def _scaled(shift: float, scale: float) -> Callable[[Batch], Tensor]:
    """One affine map for all entries; what is hidden or past the end is 0."""

    def entries(batch: Batch) -> Tensor:
        return (((batch.x.double() - shift) / scale) * batch.present).flatten(1)

    return entries


def _with_length(inner: Callable[[Batch], Tensor], space: Space) -> Callable[[Batch], Tensor]:
    if not space.ragged:
        return inner

    def entries(batch: Batch) -> Tensor:
        return torch.cat([inner(batch), batch.lengths.double()[:, None] / space.layout[0]], 1)

    return entries


def _columns(space: Space, batch: Batch) -> Callable[[Batch], Tensor]:
    """Columns of a table: two unlike categories lie 1 apart, a standard deviation of a real column is 1."""
    mean, std = standardised(
        batch.x.double(), batch.present.double(), torch.ones(len(batch), dtype=torch.float64)
    )
    hot = [int(v.states) if v.type == "nominal" else 0 for v in space.columns]

    def entries(part: Batch) -> Tensor:
        x = part.x.double()
        known = part.present
        real = (x - mean) / std * known
        return torch.cat(
            [
                _one_hot(x[:, i], known[:, i], k) if k else real[:, i : i + 1]
                for i, k in enumerate(hot)
            ],
            1,
        )

    return entries


def _one_hot(codes: Tensor, known: Tensor, k: int) -> Tensor:
    return nn.functional.one_hot(codes.long().clamp(0, k - 1), k).double() * known[:, None] / 2**0.5


def _symbols(space: Space) -> Callable[[Batch], Tensor]:
    k = int(space.variables[0].states)

    def entries(batch: Batch) -> Tensor:
        known = batch.present.double()
        steps = batch.present.sum(1, keepdim=True).clamp_min(1).double()
        codes = batch.x.long().clamp(0, k - 1)
        share = (
            torch.zeros(len(codes), k, dtype=torch.float64).scatter_add_(1, codes, known) / steps
        )
        parts = [share, steps / space.layout[0]]
        if k <= BIGRAMS and codes.shape[1] > 1:
            both = known[:, 1:] * known[:, :-1]
            pair = codes[:, :-1] * k + codes[:, 1:]
            parts.append(
                torch.zeros(len(codes), k * k, dtype=torch.float64).scatter_add_(1, pair, both)
                / steps
            )
        return torch.cat(parts, 1)

    return entries


def _condition(train: Source) -> Callable[[Batch], Tensor] | None:
    if train.given_space is None:
        return None
    summary = Summary(train.given_space).double()
    summary.fit(train)

    def condition(given: Batch) -> Tensor:
        return summary(given.to(dtype=torch.float64)).double()

    return condition


# ---- the net -------------------------------------------------------------------------------------


@final
class DigitNet(nn.Module):
    """Two convolutions and 32 features before ten classes, for images (B, 1, 8, 8) of levels 0..16."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(128, 32),
        )
        self.classes = nn.Linear(32, 10)

    def features(self, x: Tensor) -> Tensor:
        """(B, 1, 8, 8) -> (B, 32)."""
        out: Tensor = self.maps(x / (LEVELS - 1))
        return out

    def forward(self, x: Tensor) -> Tensor:
        """Class logits, (B, 10)."""
        out: Tensor = self.classes(self.features(x).relu())
        return out


def train_digit_net(x: Tensor, y: Tensor, *, epochs: int = 30, seed: int = 0) -> DigitNet:
    """The net fitted to images (N, 1, 8, 8) and classes (N,), a function of the seed alone."""
    with Seeded(seed):
        net = DigitNet()
        orders = [torch.randperm(len(x)) for _ in range(epochs)]
    optimiser = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=1e-2)
    for order in orders:
        for rows in order.split(64):
            optimiser.zero_grad()
            nn.functional.cross_entropy(net(x[rows]), y[rows], label_smoothing=0.05).backward()
            optimiser.step()
    return net.eval()


def store_digit_net(net: DigitNet, path: Path) -> str:
    """Write the net; returns the hash that `DIGEST` must hold."""
    state = net.state_dict()
    write_atomic(path, store.pack(state, {"about": "classifier of scikit-learn's 8x8 digits"}))
    return store.digest(state)


@cache
def digit_net() -> DigitNet:
    """The stored net.

    Raises:
        BadStore: If its bits are not those whose hash this file holds.
    """
    with resources.as_file(resources.files("likeness.evaluate").joinpath(STORED)) as path:
        state, _ = reading.unpack(path)
    if store.digest(state) != DIGEST:
        raise BadStore(
            "the stored feature net is not the one that reports name",
            do="install the package again",
        )
    net = DigitNet()
    net.load_state_dict(state)
    return net.eval()


def digit_features(batch: Batch) -> Tensor:
    """Features of 8x8 digits, (B, 32), standardised by nothing: the net's own units."""
    net = digit_net()
    with torch.no_grad():
        return torch.cat([net.features(part.x.float()) for part in batch.chunks(CHUNK)]).double()
