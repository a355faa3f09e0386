"""Which family a fit takes where none is named: by what an item is, and how many there are.

| data | family | why |
|---|---|---|
| labels step by step with their features | `crf` | tells labels of a sequence from features |
| series of numbers | `linear_dynamical` | exact forecasts and gaps, with intervals |
| series of other values | `hmm` | items of any length, gaps and forecasts, exactly |
| counts of many words | `topic` | documents are mixtures of topics |
| text | `autoregressive` | exact log p, and draws one symbol after the other |
| pictures, few | `pca`, or `mixture` of two levels | a net would learn them by heart |
| other pictures, and sound | `autoregressive` | exact log p, and draws one entry after the other |
| tables | `mixture` | exact, takes every type of column and missing values, any condition |

A family that does not take the data is passed over for the next that does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from likeness import registry
from likeness.core.errors import BadConfig
from likeness.core.space import Space

AUTO = "auto"
FEW_PICTURES = 500  # below which a net learns them by heart
MANY_COUNTS = 50  # columns of counts that are taken for words


@dataclass(frozen=True)
class Choice:
    """A family, and why it was chosen.

    Args:
        family: Its name.
        why: A sentence without its end.
    """

    family: str
    why: str

    @property
    def note(self) -> str:
        """What users are told."""
        return f"{self.family} was chosen: {self.why}; name another family to have that instead"


def choose(space: Space, given_space: Space | None, rows: int) -> Choice:
    """The first family of those that suit the data which takes them by its defaults.

    Args:
        space: What an item is.
        given_space: What is given, or None.
        rows: How many items there are to learn from.

    Raises:
        BadConfig: If none takes them.
    """
    for choice in (*_suited(space, given_space, rows), *_last()):
        family = registry.family(choice.family)
        if family.accepts(family.Config(), space, given_space):
            return choice
    raise BadConfig(
        f"no family takes {space.source} data like these by its defaults",
        do="name one with its options: `likeness families` lists them",
    )


def _suited(space: Space, given_space: Space | None, rows: int) -> Iterator[Choice]:
    """Families that suit the data, best first."""
    if space.ragged and given_space is not None and given_space.ragged:
        yield Choice("crf", "labels go step by step with their features")
    if "time" in space.axes and space.real and not space.counted:
        yield Choice("linear_dynamical", "series of numbers: forecasts and gaps are exact")
    if "time" in space.axes and not space.counted and not _symbols(space):
        yield Choice("hmm", "series of any length: forecasts and gaps are exact")
    if _documents(space):
        yield Choice("topic", "counts of many words: documents are mixtures of topics")
    if _symbols(space):
        yield Choice("autoregressive", "text: log p is exact, and draws follow symbol by symbol")
    if {"width", "height"} & set(space.axes):
        yield from _pictured(space, rows)
    if "time" in space.axes:
        yield Choice("autoregressive", "steps that follow each other: log p is exact")


def _pictured(space: Space, rows: int) -> Iterator[Choice]:
    """Families for pictures."""
    if rows < FEW_PICTURES:
        few = f"{rows} pictures are so few that a net would learn them by heart"
        yield Choice("pca", few)
        yield Choice("mixture", few)
    yield Choice("autoregressive", "pictures: log p is exact, and draws follow pixel by pixel")
    yield Choice("diffusion", "pictures: its draws look like the data")


def _last() -> Iterator[Choice]:
    """Families that take nearly everything."""
    yield Choice("mixture", "exact for every type of column, missing values and conditions")
    yield Choice("autoregressive", "it takes every type of variable, and log p is exact")
    yield Choice("vae", "it takes every type of variable")
    yield Choice("independent", "it takes every type of variable")


def _symbols(space: Space) -> bool:
    """Whether items are sequences of named symbols."""
    return space.ragged and all(variable.type == "nominal" for variable in space.variables)


def _documents(space: Space) -> bool:
    """Whether items are counts of many words."""
    counts = all(variable.type == "count" for variable in space.variables)
    return counts and not space.ragged and space.dims >= MANY_COUNTS
