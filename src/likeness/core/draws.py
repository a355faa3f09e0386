"""Draws: items that were drawn, with what it takes to draw them again, to show them and to save them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from likeness.core.answers import SHOWN_ROWS, Kind
from likeness.core.batch import Batch
from likeness.core.errors import BadConfig, LikenessError, Unsupported
from likeness.core.files import whole
from likeness.core.formulas import defused
from likeness.core.overview import Overview, Shown
from likeness.core.space import Space
from likeness.core.words import plural

if TYPE_CHECKING:
    import pandas as pd

# The evaluate layer fills this with writers that draw pictures: suffix -> function of (draws, path).
WRITERS: dict[str, Callable[[Draws, Path], None]] = {}
SEVERAL: set[str] = set()  # suffixes whose writers make a file an item, each of them whole
# The data layer fills this with the way back to frames: a function of (space, batch, what was told or None).
FRAMES: list[Callable[..., Any]] = []


# The evaluate layer fills this with the picture of draws, a PNG.
PICTURES: list[Callable[[Draws], bytes]] = []
# The data layer fills this with texts from their symbols: a function of (space, batch).
TEXTS: list[Callable[[Space, Batch], list[str]]] = []


@dataclass(frozen=True, eq=False, repr=False)
class Draws(Shown):
    """Items drawn from a distribution.

    Args:
        x: (n, *E) without `given`, (n, B, *E) with it or in `complete`; data units, where levels
            and categories are codes from 0: `to_pandas` says them as the user does, and a distribution reads
            the Draws themselves.
        space: The Space the items live in.
        how: A few words on the method.
        seed: With `first` (and the index of `given`) enough to draw the same items again.
        first: The number of the first item, or of the first draw.
        length: The items' lengths where the Space is ragged, shaped as x's leading axes.
        given: What they were conditioned on; without a condition, the classes that were drawn with
            the items.
        evaluations: Network evaluations for each item.
        kind: EXACT where the items follow the distribution itself, ESTIMATE where a finite number of
            particles stands for it.
        log_weight: Log importance weights (n, B), or None where the draws need none.
        ess: The effective sample size of each row (B,), n where exact.
        path: Items along the way, (T, n, ...), where asked for.
        given_space: What `given` is.
        told: In `complete` the entries that were observed, bool (B, *E): no frame rounds them.
    """

    x: Tensor
    space: Space
    how: str
    seed: int
    first: int = 0
    length: Tensor | None = None
    given: Batch | None = None
    evaluations: int = 1
    kind: Kind = Kind.EXACT
    log_weight: Tensor | None = None
    ess: Tensor | None = None
    path: Tensor | None = None
    given_space: Space | None = None
    told: Tensor | None = None

    def __len__(self) -> int:
        return int(self.x.shape[0])

    @property
    def batch(self) -> Batch:
        """All items as one Batch, (n,) or (n*B,) rows, draw-major."""
        event = len(self.space.shape)
        leading = self.x.shape[: self.x.dim() - event]
        flat = self.x.reshape(-1, *self.x.shape[self.x.dim() - event :])
        if self.given is not None:
            repeats = flat.shape[0] // max(len(self.given), 1)
        else:
            repeats = 1
        if self.given is not None:
            given = self.given.repeat(repeats)
        else:
            given = None
        if self.length is None:
            length = None
        else:
            length = self.length.reshape(-1)
        rows = torch.arange(flat.shape[0]) + (self.first if len(leading) == 1 else 0)
        return Batch(flat, length=length, given=given, index=rows)

    def quantiles(self, *levels: float) -> Tensor:
        """Each entry's quantiles over the draws, weighted where draws have weights, (len(levels), [B,] *E), data units.

        For quantities; what hides behind the codes of categories has no order.
        """
        if not all(0 <= level <= 1 for level in levels):
            raise BadConfig(f"quantiles at {levels} are none", do="give levels from 0 to 1")
        x = self.x.double()
        if self.log_weight is None:
            return torch.quantile(x, torch.tensor(levels, dtype=x.dtype, device=x.device), dim=0)
        weight = (
            self.log_weight.double()
            .softmax(0)
            .reshape(*self.log_weight.shape, *[1] * (x.dim() - 2))
            .expand_as(x)
        )
        value, order = x.sort(0)
        cdf = weight.gather(0, order).cumsum(0)
        place = [
            (cdf < level * cdf[-1:]).sum(0, keepdim=True).clamp(max=len(x) - 1) for level in levels
        ]
        return torch.cat([value.gather(0, p) for p in place])

    def to_pandas(self) -> pd.DataFrame:
        """The items as a frame with the Space's column names and labels, and behind them the columns of `given`."""
        if not FRAMES:
            raise Unsupported("frames need likeness.data", do="import likeness.data")
        batch = self.batch
        columns = self.given_space
        if self.told is None:
            kept = None
        else:
            kept = self.told.repeat(len(batch) // len(self.told), *[1] * (batch.x.dim() - 1))
        frame: pd.DataFrame = FRAMES[0](self.space, batch, kept)
        if batch.given is None or columns is None or columns.ragged or len(columns.shape) != 1:
            return frame
        under: pd.DataFrame = FRAMES[0](columns, batch.given)
        under = under.rename(columns={name: f"given_{name}" for name in set(under) & set(frame)})
        if self.space.ragged:  # a row a step
            under = under.iloc[frame.iloc[:, 0] - int(batch.ids[0])].reset_index(drop=True)
        return frame.join(under)

    def save(self, path: str | Path, *, safe: bool = False) -> Path:
        """Write the items, whole or not at all, as the path's suffix says.

        .csv, .parquet, .npy, .npz, .png, .wav, .txt.

        Args:
            path: The file.
            safe: In a .csv, put an apostrophe before text that a spreadsheet would run as a
                formula; such cells are read again with it.
        """
        target = Path(path)
        writer = WRITERS.get(target.suffix.lower())
        if writer is None:
            known = ", ".join(sorted(WRITERS)) or "none"
            raise LikenessError(
                f"no writer for {target.suffix or 'a name without suffix'}",
                do=f"use one of {known}",
            )
        if target.suffix.lower() in SEVERAL:
            writer(self, target)
            return target
        with whole(target) as partial, defused(safe):
            writer(self, partial)
        return target

    def head(self, rows: int = SHOWN_ROWS) -> Draws:
        """The first items alone; of draws for each row, as many of the first rows as there is room for."""
        event = len(self.space.shape)
        first: tuple[slice, ...] = (slice(rows),)
        draws = rows
        if self.x.dim() - event > 1:
            draws = max(1, rows // max(1, self.x.shape[1]))
            first = (slice(draws), slice(rows))
        return replace(
            self,
            x=self.x[first],
            length=None if self.length is None else self.length[first],
            given=None if self.given is None else self.given[:rows],
            log_weight=None if self.log_weight is None else self.log_weight[:draws, :rows],
            ess=None if self.ess is None else self.ess[:rows],
            told=None if self.told is None else self.told[:rows],
            path=None,
        )

    def overview(self) -> Overview:
        """How many items were drawn, how exactly, and the first of them."""
        facts = {"kind": f"{self.kind} ({self.how})", "seed": str(self.seed)}
        if self.ess is not None:
            facts["effective size"] = f"{float(self.ess.min()):.1f} of {len(self)}, at least"
        if self.evaluations > 1:
            facts["evaluations"] = f"{self.evaluations} of a network for each item"
        return Overview(self._title(), facts, self._first_items())

    def _title(self) -> str:
        leading = self.x.dim() - len(self.space.shape)
        drawn = self._items()
        if leading > 1:
            return f"Draws: {drawn} for each of {plural(self.x.shape[1], 'row')}"
        return f"Draws: {drawn}"

    def _items(self) -> str:
        if self.space.flat:
            return f"{plural(len(self), 'row')} of {plural(self.space.width, 'column')}"
        return f"{plural(len(self), 'item')}, each {self.space.item}"

    def _first_items(self) -> pd.DataFrame | None:
        """The first items as a table where they are rows or texts; pictures and series have a picture."""
        if self.space.flat and FRAMES:
            return self.head().to_pandas()
        if _is_text(self.space) and TEXTS:
            import pandas as pd

            return pd.DataFrame({"text": TEXTS[0](self.space, self.head().batch)})
        return None

    def _repr_png_(self) -> bytes | None:
        """Pictures and series as notebooks show them; None for rows and texts, which are tables there."""
        if not PICTURES or not len(self) or self.space.flat or _is_text(self.space):
            return None
        return PICTURES[0](self)


def _is_text(space: Space) -> bool:
    """Whether items are sequences of named symbols."""
    variable = space.variables[0]
    return space.ragged and len(space.shape) == 1 and variable.type == "nominal"
