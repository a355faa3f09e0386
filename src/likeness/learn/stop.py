"""Stopping between two steps, so that what is saved is whole: Ctrl-C, terminations, terminals that close."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, Self

NAMES = (
    "SIGINT",
    "SIGTERM",
    "SIGHUP",
    "SIGBREAK",
)  # of which Windows lacks the third, others the last
SIGNALS = tuple(signal.Signals[name] for name in NAMES if hasattr(signal, name))


def _leave(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


OURS = (signal.SIG_DFL, signal.default_int_handler, _leave)  # what a program that handles none has


@contextmanager
def leaving() -> Iterator[None]:
    """Inside, a termination leaves by an exception, as Ctrl-C does, so that locks and new folders go with it."""
    # Only handlers of the default kind are replaced, and only in the main thread.
    aside = [n for n in SIGNALS if n != signal.SIGINT and signal.getsignal(n) is signal.SIG_DFL]
    if threading.current_thread() is not threading.main_thread():
        aside = []
    for number in aside:
        signal.signal(number, _leave)
    try:
        yield
    finally:
        for number in aside:
            signal.signal(number, signal.SIG_DFL)


class Stop:
    """While entered, a request to stop waits for the end of the step; a second Ctrl-C does not.

    Signals that the program handles itself, or ignores (as under nohup), are left to it, and so are all outside the
    main thread.
    """

    def __init__(self) -> None:
        self.signal = 0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            # Handlers that the program set itself stay its own.
            before = {number: signal.getsignal(number) for number in SIGNALS}
            self._before = {number: how for number, how in before.items() if how in OURS}
            for number in self._before:
                signal.signal(number, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, _frame: FrameType | None) -> None:
        # A second Ctrl-C does not wait.
        if self.signal and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = self.signal or number
        with suppress(OSError):  # a terminal that has closed; to write is safe inside a handler
            os.write(2, b"\nstopping after this step; Ctrl-C once more to stop at once\n")

    def check(self) -> None:
        """Stop here if it was asked for.

        Raises:
            KeyboardInterrupt: After Ctrl-C.
            SystemExit: After another signal, with the code of a program that it ended.
        """
        if self.signal == signal.SIGINT:
            raise KeyboardInterrupt
        if self.signal:
            raise SystemExit(128 + self.signal)
