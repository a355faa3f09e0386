"""Torch's switch of the arithmetic of products, which is one for the whole process: threads take turns at it."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

PLAIN = "fp32"  # the switch as the user has it
ONEDNN = "onednn"


class Turns:
    """Threads that want the same arithmetic go together, others wait; first come, first served."""

    def __init__(self) -> None:
        self._change = threading.Condition()
        self._waiting: deque[object] = deque()
        self._inside = 0
        self._name = PLAIN
        self._before = ""

    def enter(self, name: str) -> None:
        """Wait for the turn of an arithmetic, and switch it on."""
        place = object()
        with self._change:
            self._waiting.append(place)
            try:
                self._change.wait_for(lambda: self._may_enter(place, name))
                self._set(name)
                self._inside += 1
            finally:
                self._waiting.remove(place)
                self._change.notify_all()

    def leave(self) -> None:
        """Go out; the last one leaves the switch as it was."""
        with self._change:
            self._inside -= 1
            if not self._inside:
                self._set(PLAIN)
            self._change.notify_all()

    def restart(self, name: str | None) -> None:
        """In a forked child, where the forking thread alone goes on, under an arithmetic or none."""
        self._change = threading.Condition()
        self._waiting.clear()
        self._inside = int(name is not None)
        if name is None:
            self._set(PLAIN)

    def _may_enter(self, place: object, name: str) -> bool:
        return self._waiting[0] is place and (not self._inside or self._name == name)

    def _set(self, name: str) -> None:
        if name == self._name:
            return
        switch: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
        if name == ONEDNN:
            self._before = switch.fp32_precision
            # Despite the name oneDNN computes in fp32 where the CPU has no AMX: `precision.exact` looks.
            switch.fp32_precision = "bf16"
        else:
            switch.fp32_precision = self._before
        self._name = name


class _Here(threading.local):
    """The arithmetic that this thread is under."""

    name: str | None = None


_TURNS = Turns()
_HERE = _Here()


@contextmanager
def under(name: str) -> Iterator[None]:
    """What torch reads at every product of this thread, of gradients too; the innermost holds."""
    outer = _HERE.name
    try:
        _move(name)
        yield
    finally:
        _move(outer)


def _move(name: str | None) -> None:
    if name == _HERE.name:
        return
    if _HERE.name is not None:
        _HERE.name = None
        _TURNS.leave()
    if name is not None:
        _TURNS.enter(name)
        _HERE.name = name


def _in_child() -> None:
    """The threads of torch do not survive a fork: without them it computes in one, where it would wait for ever."""
    if torch.get_num_threads() > 1:
        torch.set_num_threads(1)
    _TURNS.restart(_HERE.name)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
