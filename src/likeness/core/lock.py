"""One writer to a folder: a lock that names its process, and that dies with it."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from likeness.core import files
from likeness.core.errors import LikenessError

LOCK = ".lock"
DO = "wait until it has ended, or choose another folder"


class Claim:
    """The right to write into a folder, until it is released or forgotten.

    Within a thread a folder may be claimed again: a model is saved into the folder of its own fit,
        say.
    """

    def __init__(self, hold: _Hold) -> None:
        self._hold: _Hold | None = hold

    @property
    def held(self) -> bool:
        """Whether this process may still write: not after a release, nor in a forked child."""
        return self._hold is not None and self._hold.pid == os.getpid()

    def release(self) -> None:
        """Let others write; releasing twice changes nothing."""
        self._hold = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


def claim(folder: Path) -> Claim:
    """Claim a folder, which is made where there is none.

    Raises:
        LikenessError: If another process or thread writes there, or nothing can be written.
    """
    key = os.path.realpath(folder)
    # A folder claimed before by this process keeps its lock; `enter` checks the thread.
    hold = _HELD.get(key)
    if hold is None:
        hold = _Hold(folder)
        _HELD[key] = hold
    hold.enter()
    return Claim(hold)


class _Hold:
    """A lock of this process on a folder; it goes when the last claim on it has gone."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.pid, self.thread = folder, os.getpid(), threading.get_ident()
        with _undisturbed():
            # The folder is noted before it is made, so that a failure leaves no empty folder.
            made = not folder.exists()
            try:
                self.descriptor = _locked(folder / LOCK)
            except OSError as error:
                if made:
                    _remove_empty(folder)
                raise LikenessError(
                    f"nothing can be written: {files.reason(error)}",
                    where=str(folder),
                    do="free some room or choose another place",
                ) from error
            self._end = weakref.finalize(self, _unlock, self.descriptor, folder, made=made)

    def enter(self) -> None:
        """Go on in this thread, where no other that lives has the lock.

        Raises:
            LikenessError: If one has.
        """
        here = threading.get_ident()
        # A thread that has ended no longer holds the lock.
        if self.thread != here and any(
            thread.ident == self.thread for thread in threading.enumerate()
        ):
            raise LikenessError("another thread writes here", where=str(self.folder), do=DO)
        self.thread = here

    def forget(self) -> None:
        """In a forked child: the lock is the parent's alone."""
        if self._end.detach() is not None:
            os.close(self.descriptor)


_HELD: weakref.WeakValueDictionary[str, _Hold] = weakref.WeakValueDictionary()


def _forget() -> None:
    for hold in list(_HELD.values()):
        hold.forget()
    _HELD.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


# ---- the file ------------------------------------------------------------------------------------


def _locked(path: Path) -> int:
    """The lock's file, open and locked, saying who locked it.

    Raises:
        LikenessError: If another has locked it.
        OSError: If it cannot be written.
    """
    while True:
        # The folder may vanish between two lines here: its last user removes it where empty.
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = files.patiently(lambda: os.open(path, os.O_RDWR | os.O_CREAT, 0o644))
        except FileNotFoundError:  # another has just left, and removed an empty folder behind it
            continue
        if not _take(descriptor, path):
            os.close(descriptor)
            raise _taken(path)
        if not _is(path, descriptor):  # removed by the last one between opening and locking
            os.close(descriptor)
            continue
        # Locked: write who holds it, for others' error messages.
        try:
            _sign(descriptor)
        except OSError:
            _drop(descriptor, path)
            raise
        return descriptor


def _is(path: Path, descriptor: int) -> bool:
    """Whether the open file still has that name."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _sign(descriptor: int) -> None:
    os.ftruncate(descriptor, 0)
    os.write(descriptor, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode())


def _signed(path: Path) -> tuple[int, str] | None:
    """The process that a lock names, and its machine."""
    try:
        owner = json.loads(path.read_text(encoding="utf-8"))
        return int(owner["pid"]), str(owner["host"])
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _taken(path: Path) -> LikenessError:
    owner = _signed(path)
    if owner is None:
        what = "another process writes here"
    elif owner == (os.getpid(), socket.gethostname()):
        what = "another thread writes here"
    else:
        what = f"another process writes here: number {owner[0]} on {owner[1]}"
    return LikenessError(what, where=str(path.parent), do=DO)


def _unlock(descriptor: int, folder: Path, *, made: bool) -> None:
    """Give the lock back, and remove the folder where it was made and nothing came into it."""
    with _undisturbed():
        _drop(descriptor, folder / LOCK)
        if made:
            _remove_empty(folder)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Inside, what would end the process waits: no file is made without being noted, nor removed by halves."""
    if sys.platform == "win32":
        yield
        return
    # Signals wait until lock and folder are consistent again.
    ending = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ending)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _drop(descriptor: int, path: Path) -> None:
    """Remove a lock while it is held, so that nobody else's is removed; Windows removes only what is closed."""
    # Unlinked before it is closed: who has the old file open sees that its name is gone.
    if not files.WINDOWS:
        _remove(path)
    os.close(descriptor)
    if files.WINDOWS:
        _remove(path)


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


if sys.platform == "win32":
    import msvcrt

    BEYOND = (
        1 << 30
    )  # the byte that is locked lies past what the file holds, which others may then read

    def _take(descriptor: int, path: Path) -> bool:
        """Whether the file could be locked; the system unlocks it when the process ends, however it ends."""
        os.lseek(descriptor, BEYOND, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)
        return True

else:
    import fcntl

    def _take(descriptor: int, path: Path) -> bool:
        """Whether the file could be locked; the system unlocks it when the process ends, however it ends."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return _abandoned(path)
        return True

    def _abandoned(path: Path) -> bool:
        """Where a file system has no locks: whether the file names a process of this machine that has ended."""
        owner = _signed(path)
        # An unreadable lock, or our own from before, belongs to no running process.
        if owner is None or owner == (os.getpid(), socket.gethostname()):
            return True
        pid, host = owner
        return host == socket.gethostname() and not _lives(pid)

    def _lives(pid: int) -> bool:
        # Signal 0 tests whether the process exists.
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        except OSError:
            return True
        return True
