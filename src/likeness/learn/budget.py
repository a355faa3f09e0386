"""How long to learn: steps, epochs or wall time."""

from __future__ import annotations

import math
import re
import reprlib
from dataclasses import dataclass

from likeness.core.errors import BadConfig

LARGEST = 1e15  # steps, epochs or units of time: more than any machine takes
_FORM = re.compile(
    r"\s*(\d{1,40}(?:\.\d{1,40})?(?:e[+-]?\d{1,3})?)\s*(s|m|h|steps?|epochs?)?\s*", re.ASCII
)
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Budget:
    """A limit on learning; exactly one is set."""

    steps: int | None = None
    epochs: float | None = None
    seconds: float | None = None

    @classmethod
    def parse(cls, text: str | int | Budget) -> Budget:
        """A budget from "2m", "90s", "1h", "500 steps", "10 epochs" or a number of steps.

        Raises:
            BadConfig: If it is none of these.
        """
        if isinstance(text, Budget):
            return text
        match = _FORM.fullmatch(text) if isinstance(text, str) else _of_number(text)
        number = float(match[1]) if match else 0.0
        if match is None or not 0 < number <= LARGEST:
            raise BadConfig(
                f"{reprlib.repr(text)} is no budget", do="write 2m, 90s, '500 steps' or '10 epochs'"
            )
        unit = match[2] or "steps"
        if unit in _UNITS:
            return cls(seconds=number * _UNITS[unit])
        if unit.startswith("epoch"):
            return cls(epochs=number)
        return cls(steps=max(1, round(number)))

    def total(self, rows: int, batch: int) -> int | None:
        """The number of steps, None where a clock decides."""
        if self.epochs is not None:
            return max(1, math.ceil(self.epochs * rows / batch))
        return self.steps

    def share(self, part: float) -> Budget:
        """A part of it, for one stage of several."""
        if self.steps is not None:
            return Budget(steps=max(1, round(self.steps * part)))
        if self.epochs:
            return Budget(epochs=self.epochs * part)
        return Budget(seconds=(self.seconds or 0.0) * part)

    @property
    def kind(self) -> str:
        """What it is counted in."""
        if self.steps is not None:
            return "steps"
        if self.epochs is not None:
            return "epochs"
        return "wall time"

    def __str__(self) -> str:
        """As it was written."""
        if self.steps is not None:
            return f"{self.steps} steps"
        if self.epochs is not None:
            return f"{_shown(self.epochs)} epochs"
        return f"{_shown(self.seconds or 0.0)}s"


def _of_number(number: object) -> re.Match[str] | None:
    """A number of steps as it would be typed."""
    whole = isinstance(number, int) and not isinstance(number, bool) and 0 < number <= LARGEST
    return _FORM.fullmatch(str(number)) if whole or isinstance(number, float) else None


def _shown(number: float) -> str:
    """A number that is read again as itself."""
    return str(int(number)) if int(number) == number else repr(number)
