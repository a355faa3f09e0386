"""What config.json may say: every key that is read has its type, whoever wrote the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from likeness.core.config import fault
from likeness.core.errors import BadStore, LikenessError
from likeness.core.space import Space

FORMAT = 1
MOST_OPTIONS = 100_000  # values in the sections of a Config, those of families inside it included
SECTIONS = ("family", "objective", "optimiser")


class _Open(BaseModel):
    """Keys of later versions and of other packages may stand beside those that are known."""

    model_config = ConfigDict(frozen=True, extra="allow")


class Score(_Open):
    """A held-out score, or why there is none."""

    why: str | None = None
    name: str = ""
    value: float = 0.0
    stderr: float = 0.0
    kind: str = ""
    how: str = ""
    rows: int = 0
    chose: bool = False
    bits_per_dim: float = 0.0


class Copies(_Open):
    """What an audit of draws found."""

    duplicates: float
    duplicates_held_out: float
    p_value: float
    draws: int
    copies: bool


class Rows(_Open):
    """What a model was fitted to."""

    rows: int
    name: str
    hash: str


class Facts(_Open):
    """What a saved model says of how it was learned."""

    data: Rows = Rows(rows=0, name="", hash="")
    decisions: dict[str, Any] = {}
    notes: list[str] = []
    remarks: list[str] = []
    score: Score | None = None
    copies: Copies | None = None
    budget: str = ""
    iterations: int = Field(default=0, ge=0)
    seed: int = 0
    series: str | None = None
    times: list[str] | None = None


class Stored(Facts):
    """A saved model's config.json."""

    format: Literal[1]
    name: str
    family: dict[str, Any]
    objective: dict[str, Any]
    optimiser: dict[str, Any]
    space: Space
    given_space: Space | None
    dtype: Literal["float64", "float32", "float16", "bfloat16"]
    weights: str
    digest: str


class Best(_Open):
    """The best validation so far."""

    value: float | None
    iteration: int
    since: int


class Checkpoint(_Open):
    """What a checkpoint says beside its tensors."""

    executor: dict[str, Any]
    best: Best
    decisions: dict[str, Any]
    data: str
    seed: int
    model: str | None = None
    options: dict[str, Any] | None = None
    counted: str | None = None


def checkpoint(facts: dict[str, Any], path: Path) -> Checkpoint:
    """The facts of a checkpoint.

    Raises:
        BadStore: Naming the first that is missing or is not what it should be.
    """
    try:
        return Checkpoint.model_validate(facts)
    except ValidationError as error:
        place, what = fault(error)
        raise BadStore(
            f"the checkpoint: {place}: {what}", where=str(path), do="begin the fit anew"
        ) from error


def checked(found: Any, path: Path) -> Stored:
    """The contents of a config.json.

    Raises:
        BadStore: Naming the first key that is missing or holds what it should not.
    """
    # A format of another version is refused before its keys are looked at.
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        said = found.get("format") if isinstance(found, dict) else None
        what = f"format {str(said)[:20]!r} where {FORMAT} is read"
        raise BadStore(what, where=str(path), do="use the version that wrote it")
    # Few options: a config of millions would take long to validate.
    if sum(_values(found.get(section)) for section in SECTIONS) > MOST_OPTIONS:
        raise BadStore(
            "config.json has more options than any family",
            where=str(path),
            do="save the model again",
        )
    try:
        return Stored.model_validate(found)
    except LikenessError as error:
        raise BadStore(
            f"config.json: {error.what}", where=str(path), do="save the model again"
        ) from error
    except ValidationError as error:
        place, what = fault(error)
        raise BadStore(
            f"config.json: {place}: {what}", where=str(path), do="save the model again"
        ) from error


def _values(held: Any) -> int:
    """How many values there are, at any depth."""
    # Without recursion, which a deeply nested file could exhaust, and no further than the bound.
    waiting = [held]
    count = 0
    while waiting and count <= MOST_OPTIONS:
        value = waiting.pop()
        if isinstance(value, dict):
            inner = list(value.values())
        else:
            inner = value if isinstance(value, list) else []
        waiting += inner
        count += 1
    return count
