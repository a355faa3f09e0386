"""What one data point is: axes, sizes, the type of each variable. A Space fixes the measure, so what log p means."""

from __future__ import annotations

import itertools
import json
import math
from typing import Annotated

from pydantic import (
    FailFast,
    Field,
)

from likeness.core.errors import BadConfig, BadData
from likeness.core.overview import Overview
from likeness.core.variables import (
    UNKNOWN,
    WHOLE,
    Count,
    Frozen,
    Nominal,
    Ordinal,
    Real,
    Texts,
    Variable,
    first_repeated,
)

__all__ = [
    "UNKNOWN",
    "WHOLE",
    "Count",
    "Nominal",
    "Ordinal",
    "Real",
    "Space",
    "Variable",
    "binary",
    "entry_names",
    "image",
    "label",
    "sequence",
    "series",
    "vector",
]

SHOWN_COLUMNS = 20


def binary() -> Ordinal:
    """A variable of two levels."""
    return Ordinal(levels=2)


class Space(Frozen):
    """The set that one data point lives in.

    Args:
        axes: A name for each axis of one event.
        shape: A size for each axis; the first may be None (ragged), and then `longest` is the
            layout's size.
        variables: One variable for all entries, or one for each entry of the last axis.
        names: Names of the entries of the last axis (columns), if any.
        longest: The longest item known, for ragged spaces.
        rate: Sampling rate in Hz, for audio and series.
        depth: How a file of sound stores a sample ("i16" whole numbers of 16 bits, "f32" floats of
            32): a hint for writers, never for models.
        source: How a reader saw the data ("table", "image", "text", ...): a hint for writers, never
            for models.
        written: How users write each entry of the last axis (decimals, a date's format, truth
            values), None where nothing is to be said: a hint for readers and writers, never for
            models.
    """

    axes: Annotated[tuple[str, ...], Texts, Field(min_length=1)]
    shape: Annotated[tuple[Annotated[int, Field(ge=1)] | None, ...], FailFast()]
    variables: Annotated[tuple[Annotated[Variable, Field(discriminator="type")], ...], FailFast()]
    names: Annotated[tuple[str, ...] | None, Texts] = None
    longest: int | None = Field(default=None, ge=1)
    rate: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    depth: str | None = None
    source: str | None = None
    written: Annotated[tuple[str | None, ...] | None, Texts] = None

    def _check(self) -> None:
        # Axes and sizes agree.
        if len(self.axes) != len(self.shape):
            raise ValueError(f"{len(self.axes)} axes but {len(self.shape)} sizes")
        if (axis := first_repeated(self.axes)) is not None:
            raise ValueError(f"two axes are called {axis!r}")
        if None in self.shape[1:]:
            raise ValueError("only the first axis may be ragged")
        # What is said once per column has as many entries as the last axis.
        wide = self.shape[-1]
        if len(self.variables) not in {1, wide}:
            raise ValueError(f"{len(self.variables)} variables for a last axis of {wide}")
        if self.names is not None and len(self.names) != wide:
            raise ValueError(f"{len(self.names)} names for a last axis of {wide}")
        if self.names is not None and (name := first_repeated(self.names)) is not None:
            raise ValueError(f"two columns are called {name!r}")
        if self.written is not None and len(self.written) != wide:
            raise ValueError(f"{len(self.written)} forms for a last axis of {wide}")

    @property
    def ragged(self) -> bool:
        """Whether items have lengths of their own."""
        return bool(self.shape) and self.shape[0] is None

    @property
    def layout(self) -> tuple[int, ...]:
        """The concrete shape E of one event as it is laid out, ragged items padded to the longest.

        Raises:
            BadData: If the space is ragged and no longest item is known.
        """
        if not self.ragged:
            return tuple(s for s in self.shape if s is not None)
        if self.longest is None:
            raise BadData(
                "a ragged space has no layout before its longest item is known",
                do="set Space.longest",
            )
        return (self.longest, *(s for s in self.shape[1:] if s is not None))

    @property
    def dims(self) -> int:
        """The number of entries of one laid-out event."""
        return math.prod(self.layout)

    @property
    def width(self) -> int:
        """The number of entries along the last axis (1 for ragged sequences of symbols)."""
        if len(self.shape) == 1 and self.ragged:
            return 1
        if self.shape:
            return self.layout[-1]
        return 1

    @property
    def homogeneous(self) -> bool:
        """Whether all entries share one variable."""
        return len(set(self.variables)) == 1

    @property
    def columns(self) -> tuple[Variable, ...]:
        """One variable for each of the `width` entries along the last axis."""
        if len(self.variables) == self.width:
            return self.variables
        return self.variables * self.width

    @property
    def counted(self) -> bool:
        """Whether every entry has a probability rather than a density, so that bits per dimension exist."""
        return all(v.counted for v in self.variables)

    @property
    def discrete(self) -> bool:
        """Whether every entry takes finitely many values."""
        return all(math.isfinite(v.states) for v in self.variables)

    @property
    def real(self) -> bool:
        """Whether every entry is a real number."""
        return all(v.type == "real" for v in self.variables)

    @property
    def states(self) -> float:
        """The number of joint states of one laid-out event (infinite where a variable's is)."""
        # In logarithms, since the product overflows for an image.
        logs = sum(math.log(v.states) for v in self.variables) * (self.dims // len(self.variables))
        if logs < 700:
            return math.exp(logs)
        return math.inf

    @property
    def label(self) -> int | None:
        """The number of classes where the space is one nominal variable, else None."""
        one = not self.ragged and self.dims == 1 and self.variables[0].type == "nominal"
        if one:
            return int(self.variables[0].states)
        return None

    @property
    def measure(self) -> str:
        """What log p is taken against; equal strings, and only they, may be compared."""
        # Entries by type of measure: probabilities are counted, densities have Lebesgue measure.
        entries = self.width if self.ragged else self.dims
        counted = sum(v.counted for v in self.variables) * (entries // len(self.variables))
        rest = entries - counted
        parts = [f"{name}^{n}" for name, n in (("counting", counted), ("lebesgue", rest)) if n]
        # A binned real is comparable only under equal bins.
        widths = sorted(
            {v.resolution for v in self.variables if v.type == "real" and v.resolution is not None}
        )
        bins = f" bins {widths}" if widths else ""
        return " x ".join(parts) + bins + (" per step, given length" if self.ragged else "")

    @property
    def flat(self) -> bool:
        """Whether items are rows of a table, named or not."""
        return len(self.shape) == 1 and not self.ragged

    @property
    def item(self) -> str:
        """What one item is, in words."""
        if self.ragged:
            return f"{self._kind}, up to {self.longest or 'any number of'} steps long"
        if self.source == "table" or self.names is not None:
            return f"{self.width:,} column{'' if self.width == 1 else 's'}"
        sizes = " x ".join(map(str, self.layout))
        return f"{self._kind} of {sizes}"

    @property
    def _kind(self) -> str:
        if self.ragged and self.source == "table":
            return f"series of {self.width:,} column{'' if self.width == 1 else 's'}"
        if self.ragged:
            return self.source or "sequence"
        if len(self.shape) == 1:
            return "vector"
        return self.source or "array"

    @property
    def column_words(self) -> dict[str, str]:
        """What each named column holds, in words; one entry for all of an array."""
        if self.names is not None:
            return {name: v.words for name, v in zip(self.names, self.columns, strict=True)}
        kinds = list(dict.fromkeys(v.words for v in self.columns))
        return {"each entry" if len(kinds) == 1 else "entries": "; ".join(kinds)}

    def overview(self) -> Overview:
        """What an item is, and what each column holds."""
        words = list(self.column_words.items())
        more = len(words) - SHOWN_COLUMNS
        if more > 0:
            words = [*words[:SHOWN_COLUMNS], ("...", f"{more} more columns")]
        return Overview(f"Space: {self.item}", dict(words))

    def __repr__(self) -> str:
        return self.overview().text()

    def __str__(self) -> str:
        return self.overview().text()

    def _repr_html_(self) -> str:
        """The overview as notebooks show it."""
        return self.overview().html()

    def to_json(self) -> str:
        """The space as JSON."""
        return self.model_dump_json(exclude_none=True)

    @classmethod
    def from_json(cls, text: str) -> Space:
        """The space that `to_json` wrote.

        Raises:
            BadConfig: If the text is no Space.
        """
        try:
            said = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise BadConfig("the Space is not JSON", do="write it with Space.to_json") from error
        return cls.model_validate(said)

    def fits(self, other: Space) -> str | None:
        """Why data of `other` cannot be asked of a distribution over this space, or None where they can."""
        if self.shape != other.shape:
            return f"events of shape {other.shape} where {self.shape} was learned"
        if tuple(_bare(v) for v in self.columns) != tuple(_bare(v) for v in other.columns):
            return "variables of other types than those that were learned"
        return None


def entry_names(space: Space, prefix: str = "x") -> tuple[str, ...]:
    """The name of every entry: the columns' own, x0, x1, ... without any, channel_row_column for arrays."""
    if space.ragged:
        return ()
    if len(space.shape) == 1:
        return space.names or tuple(f"{prefix}{i}" for i in range(space.width))
    return tuple(
        "_".join(map(str, place)) for place in itertools.product(*map(range, space.layout))
    )


def _bare(variable: Variable) -> tuple[object, ...]:
    """What must agree for data to be comparable: the type and the number of states, not bounds or labels."""
    return (variable.type, variable.states)


def vector(
    n: int,
    variable: Variable | tuple[Variable, ...] | None = None,
    names: tuple[str, ...] | None = None,
) -> Space:
    """A Space of vectors of n entries, real unless told otherwise."""
    if isinstance(variable, tuple):
        chosen = variable
    else:
        chosen = (variable or Real(),)
    return Space(axes=("column",), shape=(n,), variables=chosen, names=names)


def image(channels: int, height: int, width: int, levels: int = 256) -> Space:
    """A Space of images of so many levels a pixel."""
    axes = ("channel", "height", "width")
    return Space(
        axes=axes,
        shape=(channels, height, width),
        variables=(Ordinal(levels=levels),),
        source="image",
    )


def sequence(categories: int, longest: int) -> Space:
    """A Space of ragged sequences of symbols."""
    return Space(
        axes=("time",), shape=(None,), variables=(Nominal(categories=categories),), longest=longest
    )


def series(channels: int, longest: int, variable: Variable | None = None) -> Space:
    """A Space of ragged series of vectors."""
    return Space(
        axes=("time", "channel"),
        shape=(None, channels),
        variables=(variable or Real(),),
        longest=longest,
    )


def label(classes: int, labels: tuple[str, ...] | None = None) -> Space:
    """A Space of one class label."""
    return Space(
        axes=("column",),
        shape=(1,),
        variables=(Nominal(categories=classes, labels=labels),),
        names=("label",),
    )
