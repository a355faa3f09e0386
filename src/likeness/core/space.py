"""What one data point is: axes, sizes, the type of each variable. A Space fixes the measure, so what log p means."""

from __future__ import annotations

import itertools
import math
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from likeness.core.errors import BadData

UNKNOWN = (
    "<unk>"  # the label of whatever has no label of its own: words that are none of a vocabulary
)


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Real(_Frozen):
    """A real number, within bounds if given; with `resolution` it stands for the bin of that width around it."""

    type: Literal["real"] = "real"
    lower: float | None = None
    upper: float | None = None
    resolution: float | None = Field(default=None, gt=0)
    unit: str | None = None

    @property
    def states(self) -> float:
        """The number of values the variable takes."""
        return math.inf

    @property
    def counted(self) -> bool:
        """Whether its law is a probability (counting measure) rather than a density."""
        return self.resolution is not None


class Ordinal(_Frozen):
    """One of `levels` ordered levels, coded 0..levels-1; the user's own value is start + code."""

    type: Literal["ordinal"] = "ordinal"
    levels: int = Field(ge=1)
    start: int = 0

    @property
    def states(self) -> float:
        """The number of values the variable takes."""
        return self.levels

    @property
    def counted(self) -> bool:
        """Whether its law is a probability rather than a density."""
        return True


class Nominal(_Frozen):
    """One of several unordered categories, coded 0..K-1; labels are the names that a user sees.

    Where `pooled` is set, the last category stands for so many names that have no code of their
    own, each as likely as the other: log p of a value of it is that of one of these names.
    """

    type: Literal["nominal"] = "nominal"
    categories: int = Field(ge=1)
    labels: tuple[str, ...] | None = None
    pooled: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _labels_fit(self) -> Nominal:
        if self.labels is not None and len(self.labels) != self.categories:
            raise ValueError(f"{len(self.labels)} labels for {self.categories} categories")
        return self

    @property
    def states(self) -> float:
        """The number of values the variable takes."""
        return self.categories

    @property
    def counted(self) -> bool:
        """Whether its law is a probability rather than a density."""
        return True


class Count(_Frozen):
    """A whole number 0, 1, 2, ..."""

    type: Literal["count"] = "count"

    @property
    def states(self) -> float:
        """The number of values the variable takes."""
        return math.inf

    @property
    def counted(self) -> bool:
        """Whether its law is a probability rather than a density."""
        return True


Variable = Real | Ordinal | Nominal | Count


def binary() -> Ordinal:
    """A variable of two levels."""
    return Ordinal(levels=2)


class Space(_Frozen):
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

    axes: tuple[str, ...]
    shape: tuple[int | None, ...]
    variables: tuple[Annotated[Variable, Field(discriminator="type")], ...]
    names: tuple[str, ...] | None = None
    longest: int | None = None
    rate: float | None = None
    depth: str | None = None
    source: str | None = None
    written: tuple[str | None, ...] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Space:
        if len(self.axes) != len(self.shape):
            raise ValueError(f"{len(self.axes)} axes but {len(self.shape)} sizes")
        if None in self.shape[1:]:
            raise ValueError("only the first axis may be ragged")
        if len(self.variables) not in {1, self.shape[-1] if self.shape else 1}:
            raise ValueError(f"{len(self.variables)} variables for a last axis of {self.shape[-1]}")
        if self.names is not None and len(self.names) != self.shape[-1]:
            raise ValueError(f"{len(self.names)} names for a last axis of {self.shape[-1]}")
        if self.written is not None and len(self.written) != self.shape[-1]:
            raise ValueError(f"{len(self.written)} forms for a last axis of {self.shape[-1]}")
        return self

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
        logs = sum(math.log(v.states) for v in self.columns) * (self.dims // self.width)
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
        counted = sum(v.counted for v in self.columns) * (
            self.dims // self.width if not self.ragged else 1
        )
        rest = sum(not v.counted for v in self.columns) * (
            self.dims // self.width if not self.ragged else 1
        )
        parts = [f"{name}^{n}" for name, n in (("counting", counted), ("lebesgue", rest)) if n]
        widths = sorted(
            {v.resolution for v in self.variables if v.type == "real" and v.resolution is not None}
        )
        bins = f" bins {widths}" if widths else ""
        return " x ".join(parts) + bins + (" per step, given length" if self.ragged else "")

    def to_json(self) -> str:
        """The space as JSON."""
        return self.model_dump_json(exclude_none=True)

    @classmethod
    def from_json(cls, text: str) -> Space:
        """The space that `to_json` wrote."""
        return cls.model_validate_json(text)

    def fits(self, other: Space) -> str | None:
        """Why data of `other` cannot be asked of a law over this space, or None where they can."""
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
