"""Where a fit is kept: its log, its checkpoint and in the end its model, written by one fit at a time."""

from __future__ import annotations

import json
import os
import weakref
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch.distributed as dist
from torch import Tensor

from likeness.core import files, lock
from likeness.core.errors import LikenessError
from likeness.core.model import Model
from likeness.learn.executor import Event
from likeness.registry import reading, store

CHECKPOINT = "checkpoint.safetensors"
METRICS = "metrics.jsonl"
OTHERWISE = "choose another folder, or go on with that fit"
NEXT = "metrics.next.jsonl"  # the log of a fit that is to take the place of a model, whose own log stays until then


class Place:
    """A folder of a fit. Of several processes that learn together the first alone writes.

    Args:
        folder: Made with the first claim.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._name = os.path.realpath(folder)
        self.writes = not (dist.is_available() and dist.is_initialized()) or dist.get_rank() == 0
        self._claim: lock.Claim | None = None
        self._logged: int | None = None  # bytes, once this fit has written there

    @property
    def unfinished(self) -> bool:
        """Whether there is a fit to go on with."""
        return (self.folder / CHECKPOINT).exists()

    @property
    def finished(self) -> bool:
        """Whether there is a model, and no fit that is to take its place."""
        return (self.folder / store.CONFIG).exists() and not self.unfinished

    @property
    def log(self) -> Path:
        """Where events go."""
        following = self.folder / NEXT
        return following if following.exists() else self.folder / METRICS

    def claim(self) -> None:
        """Keep others from writing here.

        Raises:
            LikenessError: If another process, thread or fit does.
        """
        if not self.writes:
            return
        # A claim that this process holds already is good.
        if self._claim is not None and self._claim.held:
            return
        self._claim = lock.claim(self.folder)
        store.settle(self.folder)
        # The log has grown since: somebody else has fitted here.
        if self._logged is not None and self._logged != _size(self.log):
            self.release()
            raise LikenessError(
                "another fit has written here since", where=str(self.folder), do=OTHERWISE
            )

    def enter(self) -> None:
        """Write here in place of an earlier fit of this thread, which can do so no more."""
        self.claim()
        # An earlier fit of this process that is still open loses its right.
        before = _WRITERS.get(self._name)
        if before is not None and before is not self:
            before.release()
        _WRITERS[self._name] = self

    def release(self) -> None:
        """Let others write."""
        if self._claim is not None:
            self._claim.release()

    def start(self) -> None:
        """Leave nothing of an earlier fit that could be taken for this one's own, but for the model and its log."""
        if not self.writes:
            return
        (self.folder / CHECKPOINT).unlink(missing_ok=True)
        (self.folder / NEXT).unlink(missing_ok=True)
        # A finished model stays, with its log, until the new one takes its place.
        if self.finished:
            (self.folder / NEXT).touch()
        else:
            (self.folder / METRICS).unlink(missing_ok=True)

    def append(self, event: Event) -> None:
        """Log what a step did.

        Raises:
            LikenessError: If the disk is full: then the log is as it was.
        """
        self._may_write()
        if self.writes:
            _append(self.log, json.dumps(asdict(event)) + "\n")
            self._logged = _size(self.log)

    def trim(self, events: int) -> None:
        """Drop the events after the checkpoint: they will happen again."""
        if self.writes and self.log.exists():
            lines = self.log.read_text(encoding="utf-8").splitlines()[:events]
            files.write_atomic(self.log, "".join(f"{line}\n" for line in lines).encode())
            self._logged = _size(self.log)

    def keep(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Write a checkpoint.

        Raises:
            LikenessError: If the disk is full: then the one before is as it was.
        """
        self._may_write()
        if not self.writes:
            return
        # Events before the checkpoint: a log may lack none that the checkpoint counts.
        with suppress(OSError):
            files.sync(self.log)  # a checkpoint counts the events before it
        files.write_atomic(self.folder / CHECKPOINT, store.pack(tensors, facts))

    def kept(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The checkpoint."""
        return reading.unpack(self.folder / CHECKPOINT)

    def finish(self, model: Model) -> None:
        """Save the model, which takes the place of an earlier one with its log."""
        self._may_write()
        if not self.writes:
            return
        # The model, its weights and its log change in one go.
        following = self.folder / NEXT
        beside = {METRICS: following.read_bytes()} if following.exists() else {}
        store.save(model, self.folder, beside=beside)
        for name in (NEXT, CHECKPOINT):
            (self.folder / name).unlink(missing_ok=True)
        self.release()

    def _may_write(self) -> None:
        if self.writes and _WRITERS.get(self._name) is not self:
            raise LikenessError(
                "a later fit of this process writes here",
                where=str(self.folder),
                do=OTHERWISE,
            )
        self.claim()


_WRITERS: weakref.WeakValueDictionary[str, Place] = weakref.WeakValueDictionary()


def _append(path: Path, line: str) -> None:
    """Append a line whole, or leave the file as it was."""
    # A line half written is cut off again.
    before = _size(path)
    try:
        with path.open("ab") as file:
            file.write(line.encode())
    except OSError as error:
        with suppress(OSError):
            os.truncate(path, before)
        raise LikenessError(
            f"the log was not written: {files.reason(error)}",
            where=str(path),
            do="free some room or choose another place",
        ) from error


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
