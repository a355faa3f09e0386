"""The options of `load`, in one Config, and what a reader of one kind of data needs to know of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import ConfigDict

from likeness.core.config import Config, option
from likeness.core.space import Space
from likeness.data.arrays import Rounding

Binarize = Literal["dynamic", "threshold"]
Split = Literal["rows", "time"]
TEST = 0.1


class LoadOptions(Config):
    """How items are read, and how they are split into parts: the options of `lk.load`."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    columns: Any = option(
        None,
        'types that you know better, by column: a Variable, or "real", "ordinal", "nominal", '
        '"count", "binary", "date" or "skip"',
    )
    name: str | None = option(None, "what reports call the data")
    space: Space | None = option(None, "the Space, where it is known: nothing is inferred then")
    test: float | None = option(
        None, "share of the rows held out for tests; 0.1, and none where the set has its own split"
    )
    valid: float = option(0.0, "share of the rest that is held out for choices")
    seed: int = option(0, "seed of the split, of synthetic rows and of binarisation")
    group: Any = option(
        None, "a column's name, or an array (N,): rows of one group stay in one part"
    )
    rounding: Rounding | None = option(
        None,
        '"bins" makes coarse roundings a resolution, "note" only notes them; "bins" for frames and '
        'files, "note" for arrays, series and scikit-learn\'s sets',
    )
    binarize: Binarize | None = option(
        None, 'images: "dynamic" draws pixels anew each epoch, "threshold" cuts at half'
    )
    size: int | tuple[int, int] | None = option(None, "height and width that images are resized to")
    channels: int | None = option(None, "1, 3 or 4 channels of image files")
    key: str | None = option(None, "which array of a .npz holds the items")
    width: int | None = option(None, "cut text into pieces of so many characters, not into lines")
    words: int | None = option(
        None,
        "cut text into words in lower case, not into characters; rarer ones than this are <unk>",
    )
    vocabulary: Path | None = option(
        None, "file with the words of an LDA-C corpus, one a line; else the one that lies beside it"
    )
    series: bool | str | None = option(
        None,
        "True where the rows of a table are steps of one series, or the column that says which "
        "series a row belongs to; a column of times orders the steps",
    )
    split: Split | None = option(
        None,
        '"time" holds out the last steps of every series, "rows" whole rows; "time" for one series '
        "alone",
    )
    n: int = option(10_000, "rows drawn from a synthetic distribution", ge=1)
    max_memory: int | float | str | None = option(
        None, 'what reading may take, in bytes or as "5GB"; a quarter of the machine\'s memory'
    )


DEFAULTS = LoadOptions()


@dataclass(frozen=True)
class Request:
    """What a reader is asked for.

    Args:
        name: What the set is called.
        given: The columns that items are conditioned on.
        options: The user's options.
    """

    name: str
    given: tuple[str, ...] = ()
    options: LoadOptions = DEFAULTS

    @property
    def group(self) -> str | None:
        """The column whose equal values keep rows together, where a column says it."""
        if isinstance(self.options.group, str):
            return self.options.group
        return None

    @property
    def noted_rounding(self) -> Rounding:
        """What becomes of coarse roundings where they are only noted unless the user says otherwise."""
        return self.options.rounding or "note"

    @property
    def size(self) -> tuple[int, int] | None:
        """The size of pictures, of which one number is both sides."""
        size = self.options.size
        if isinstance(size, int):
            return (size, size)
        return size

    def called(self, name: str) -> Self:
        """The same request of another set."""
        return replace(self, name=name)

    def as_steps(self) -> Self:
        """The same request where all rows are the steps of one series."""
        return replace(self, options=self.options.model_copy(update={"series": True}))
