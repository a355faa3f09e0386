"""How long to learn: steps, epochs or wall time."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from likeness.core.errors import BadConfig

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
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|m|h|steps?|epochs?)?\s*", str(text))
        if match is None or float(match[1]) <= 0:
            raise BadConfig(
                f"{text!r} is no budget", do="write 2m, 90s, '500 steps' or '10 epochs'"
            )
        number = float(match[1])
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
            return f"{self.epochs:g} epochs"
        return f"{self.seconds:g}s"
