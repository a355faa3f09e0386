"""What a report's pictures are made of: the facts of its rows, their distributions, and what these drew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from likeness.core.batch import Batch
    from likeness.core.distribution import Distribution
    from likeness.core.space import Space
    from likeness.evaluate.protocol import Split


@dataclass(frozen=True, eq=False)
class Exhibits:
    """Rows of a comparison, as a report shows them.

    Args:
        facts: All numbers and words.
        laws: The distribution of each row's first seed, by the row's name.
        drawn: Items drawn from it.
        split: The parts of the data that all rows shared.
    """

    facts: dict[str, Any]
    laws: dict[str, Distribution]
    drawn: dict[str, Batch]
    split: Split

    @property
    def space(self) -> Space:
        """What one item is."""
        return self.split.train.space

    @property
    def form(self) -> str:
        """How items of this Space are drawn: plane, table, strips, image."""
        from likeness.evaluate.figures import form  # which loads matplotlib

        return form(self.space)
