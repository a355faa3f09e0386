"""Ctrl-C between two steps, so that what is saved is whole; a second one stops at once."""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import Any, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """While entered, a request to stop waits for the end of the step."""

    def __init__(self) -> None:
        self.signal = 0
        self._before: dict[int, Any] = {}

    @property
    def code(self) -> int:
        """The exit code of a stopped process: 130 for Ctrl-C, 143 for a termination."""
        return 128 + (self.signal or signal.SIGINT)

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._ask) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, _frame: FrameType | None) -> None:
        if self.signal:
            raise KeyboardInterrupt
        self.signal = number
        os.write(
            2, b"\nstopping after this step; once more to stop at once\n"
        )  # safe inside a handler

    def between_steps(self) -> None:
        """Stop here if it was asked for."""
        if self.signal:
            raise KeyboardInterrupt
