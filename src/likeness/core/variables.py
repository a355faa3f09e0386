"""Variables: what one entry of a data point can be."""

from __future__ import annotations

import math
import reprlib
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)

from likeness.core.config import fault
from likeness.core.errors import BadConfig

SHOWN_LABELS = 6
DAYS = "days since"  # how the unit of a date begins
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


class Frozen(BaseModel):
    """Base of what describes data: never changed, and refused in one sentence where it makes no sense."""

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


class Real(Frozen):
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
        """Whether it has a probability (counting measure) rather than a density."""
        return self.resolution is not None

    @property
    def words(self) -> str:
        """What it holds, for people."""
        words = [self._name]
        if self.resolution is not None:
            words.append(f"in steps of {self.resolution:g}")
        if self.lower is not None or self.upper is not None:
            words.append(f"from {_bound(self.lower, '-')} to {_bound(self.upper, '')}")
        return ", ".join(words)

    @property
    def _name(self) -> str:
        if self.unit is None:
            return "real"
        if self.unit.startswith(DAYS):
            return "date"
        return f"real ({self.unit})"


def _bound(value: float | None, sign: str) -> str:
    if value is None or math.isinf(value):
        return f"{sign}infinity"
    return f"{value:g}"


class Ordinal(Frozen):
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
        """Whether it has a probability rather than a density."""
        return True

    @property
    def words(self) -> str:
        """What it holds, for people."""
        return f"levels {self.start} to {self.start + self.levels - 1}"


class Nominal(Frozen):
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
        if (twice := first_repeated(self.labels)) is not None:
            raise ValueError(f"two categories are called {twice!r}")

    @property
    def states(self) -> float:
        """The number of values the variable takes."""
        return self.categories

    @property
    def counted(self) -> bool:
        """Whether it has a probability rather than a density."""
        return True

    @property
    def words(self) -> str:
        """What it holds, for people."""
        if self.labels is None:
            return f"{self.categories} categories"
        more = ["..."] if len(self.labels) > SHOWN_LABELS else []
        return f"{self.categories} categories: {', '.join([*self.labels[:SHOWN_LABELS], *more])}"


class Count(Frozen):
    """A whole number 0, 1, 2, ..."""

    type: Literal["count"] = "count"

    @property
    def states(self) -> float:
        """The number of values the variable takes."""
        return math.inf

    @property
    def counted(self) -> bool:
        """Whether it has a probability rather than a density."""
        return True

    @property
    def words(self) -> str:
        """What it holds, for people."""
        return "counts"


Variable = Real | Ordinal | Nominal | Count


def first_repeated(names: tuple[str, ...]) -> str | None:
    """The first name that stands there twice."""
    seen = set[str]()
    return next((name for name in names if name in seen or seen.add(name)), None)  # type: ignore[func-returns-value]
