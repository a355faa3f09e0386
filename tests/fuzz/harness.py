"""Many seeded inputs against one action: each succeeds or is refused in one sentence, soon and in little memory.

    @runs()
    def test_any_line_is_read_or_refused(n):
        fuzz(read_line, line, n)            # read_line(line(random.Random(...))), n times

A failure names the seed and the input; `fuzz(read_line, line, 1, first=k)` runs input k again, alone.
"""

from __future__ import annotations

import random
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from likeness.core.errors import LikenessError

T = TypeVar("T")
# Seconds of the clock for each second of the processor, before an input counts as hanging
BUSY = 5.0
# Times as long as its seconds may be the first run of a slow input, which may be loading modules
FIRST = 20.0
STATUS = Path("/proc/self")  # where there is none, memory is not looked at
GUARD = (
    4 << 30
)  # bytes of addresses beyond the bound, so that a failing test does not take the machine down


class TooSlow(BaseException):
    """No Exception, so that no `except` of the product's takes it for one."""


def runs(few: int = 300, many: int = 100_000) -> pytest.MarkDecorator:
    """Parametrise a test by `n`: few inputs in `make test`, many in `make slow`."""
    return pytest.mark.parametrize("n", [few, pytest.param(many, marks=pytest.mark.slow)])


def fuzz(
    action: Callable[[T], Any],
    make: Callable[[random.Random], T],
    n: int,
    *,
    seed: int = 0,
    first: int = 0,
    seconds: float = 1.0,
    megabytes: int = 256,
) -> None:
    """Run the action on n made inputs; fail where one is not refused properly, or takes too much time or memory.

    Args:
        action: What is tried; its result is not looked at.
        make: An input from a generator of its own, a function of the seed and the input's number.
        n: How many inputs.
        seed: Of all inputs.
        first: The number of the first input.
        seconds: Processor time of one input.
        megabytes: Growth of the resident memory's peak during one input.
    """
    for k in range(first, first + n):
        fault = _fault(action, make(random.Random(f"{seed}/{k}")), seconds, megabytes, FIRST)
        if fault in {"time", "memory"}:
            fault = _fault(action, make(random.Random(f"{seed}/{k}")), seconds, megabytes, 1.0)
        if fault is not None:
            text = repr(make(random.Random(f"{seed}/{k}")))
            shown = text if len(text) <= 600 else f"{text[:600]}... ({len(text)} characters)"
            pytest.fail(f"seed {seed}, input {k}: {fault}\n{shown}", pytrace=False)


def _fault(
    action: Callable[[T], Any], value: T, seconds: float, megabytes: int, patience: float
) -> str | None:
    """What is wrong with the way in which an action takes a value, or None; stopped after so many times the seconds."""
    before, spent = _peak(reset=True), time.process_time()
    try:
        with _limits(patience * seconds, megabytes):
            action(value)
    except LikenessError as error:
        if not str(error).strip() or "\n" in str(error):
            return f"refused in other than one sentence: {str(error)!r}"
    except TooSlow:
        return "time"
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return f"{type(error).__module__}.{type(error).__qualname__}: {error}"
    if time.process_time() - spent > seconds:
        return "time"
    return "memory" if _peak() - before > megabytes << 20 else None


@contextmanager
def _limits(seconds: float, megabytes: int) -> Iterator[None]:
    """Stop what runs or waits too long, and refuse memory far beyond the bound."""

    def stop(*_: Any) -> None:
        raise TooSlow

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    timers = ((signal.ITIMER_PROF, signal.SIGPROF, 1.0), (signal.ITIMER_REAL, signal.SIGALRM, BUSY))
    handlers = [(number, signal.signal(number, stop)) for _, number, _ in timers]
    if STATUS.exists():
        most = _addresses() + (megabytes << 20) + GUARD
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    try:
        for timer, _, factor in timers:
            signal.setitimer(timer, factor * seconds)
        yield
    finally:
        for timer, _, _ in timers:
            signal.setitimer(timer, 0)
        for number, handler in handlers:
            signal.signal(number, handler)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _addresses() -> int:
    """Bytes of addresses that the process holds."""
    return int((STATUS / "statm").read_text().split()[0]) * resource.getpagesize()


def _peak(reset: bool = False) -> int:
    """The most resident memory in bytes since the last reset (proc(5): clear_refs, VmHWM)."""
    if not STATUS.exists():
        return 0
    if reset:
        (STATUS / "clear_refs").write_text("5")
    lines = (STATUS / "status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) << 10
