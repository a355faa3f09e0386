"""What one data point is: axes, sizes, the type of each variable. A Space fixes the measure, so what log p means."""

from __future__ import annotations

import itertools
import json
import math
import reprlib
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    FailFast,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)

from likeness.core.config import fault
from likeness.core.errors import BadConfig, BadData

WHOLE = 1 << 53  # up to here double precision, in which values are held, tells whole numbers apart


def _texts(held: Any) -> Any:
    """Texts as they are, refused at the first that is none: pydantic would make an error of each."""
    if isinstance(held, list | tuple):
        for one in held:
            if not isinstance(one, str | None):
                raise ValueError(f"{reprlib.repr(one)} is no text")
    return held


Texts = BeforeValidator(_texts)

UNKNOWN = (
    "<unk>"  # the label of whatever has no label of its own: words that are none of a vocabulary
)


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="wrap")
    @classmethod
    def _in_one_sentence(cls, values: Any, make: ModelWrapValidatorHandler[Self]) -> Self:
        # Pydantic's list of faults becomes one sentence, the first fault with its place.
        try:
            made = make(values)
            made._refuse_no_text()
            made._check()
        except ValidationError as error:
            place, what = fault(error)
            name = f"{cls.__name__}.{place}" if place else cls.__name__
            raise BadConfig(
                f"{name}: {what}", do=f"describe the data by another {cls.__name__}"
            ) from error
        except ValueError as error:
            raise BadConfig(
                f"{cls.__name__}: {error}", do=f"describe the data by another {cls.__name__}"
            ) from error
        return made

    def _refuse_no_text(self) -> None:
        """Refuse names and labels that no file can hold: halves of surrogate pairs."""
        # UTF-8 refuses lone halves of surrogate pairs.
        for held in vars(self).values():
            texts = held if isinstance(held, tuple) else (held,)
            said = "".join(text for text in texts if isinstance(text, str))
            try:
                said.encode()
            except UnicodeEncodeError as error:
                raise ValueError(f"{said[error.start]!r} is no character") from error

    def _check(self) -> None:
        """Refuse what makes no sense together, by a ValueError that says why."""


class Real(_Frozen):
    """A real number, within bounds if given; with `resolution` it stands for the bin of that width around it."""

    type: Literal["real"] = "real"
    lower: float | None = None
    upper: float | None = None
    resolution: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    unit: str | None = None

    def _check(self) -> None:
        low = -math.inf if self.lower is None else self.lower
        high = math.inf if self.upper is None else self.upper
        if not low < high:  # NaN neither
            raise ValueError(
                f"no number lies between a lower bound of {low:g} and an upper bound of {high:g}"
            )

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

    def _check(self) -> None:
        last = self.start + self.levels - 1
        if max(abs(self.start), abs(last)) > WHOLE:
            raise ValueError(
                f"levels beyond {WHOLE:,} cannot be told apart: count them from another start, or name them"
            )

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
    categories: int = Field(ge=1, le=WHOLE)
    labels: Annotated[tuple[str, ...] | None, Texts] = None
    pooled: int | None = Field(default=None, ge=1, le=WHOLE)

    def _check(self) -> None:
        if self.labels is None:
            return
        if len(self.labels) != self.categories:
            raise ValueError(f"{len(self.labels)} labels for {self.categories} categories")
        if "" in self.labels:
            raise ValueError("an empty label cannot be told from a missing one")
        if (twice := _twice(self.labels)) is not None:
            raise ValueError(f"two categories are called {twice!r}")

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
        if (axis := _twice(self.axes)) is not None:
            raise ValueError(f"two axes are called {axis!r}")
        if None in self.shape[1:]:
            raise ValueError("only the first axis may be ragged")
        # What is said once per column has as many entries as the last axis.
        wide = self.shape[-1]
        if len(self.variables) not in {1, wide}:
            raise ValueError(f"{len(self.variables)} variables for a last axis of {wide}")
        if self.names is not None and len(self.names) != wide:
            raise ValueError(f"{len(self.names)} names for a last axis of {wide}")
        if self.names is not None and (name := _twice(self.names)) is not None:
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


def _twice(names: tuple[str, ...]) -> str | None:
    """The first name that stands there twice."""
    seen = set[str]()
    return next((name for name in names if name in seen or seen.add(name)), None)  # type: ignore[func-returns-value]


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
