"""Files that are written whole or not at all, and that a loss of power does not take back."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from likeness.core.errors import BadConfig, LikenessError

PARTIAL = ".partial"
WINDOWS = os.name == "nt"
PATIENCE = 50  # times that a name in use is asked for again, 20 ms apart
T = TypeVar("T")


def path_of(value: Any) -> Path:
    """A path that a user gives.

    Raises:
        BadConfig: If it is none.
    """
    if not isinstance(value, str | os.PathLike):
        raise BadConfig(f"{value!r} is no path", do='name a folder or a file: "runs/model", say')
    return Path(value)


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file whole or leave what was there.

    Raises:
        LikenessError: If the disk is full or the place cannot be written.
    """
    with whole(path, PARTIAL) as partial:
        partial.write_bytes(data)


@contextmanager
def whole(path: Path, suffix: str | None = None) -> Iterator[Path]:
    """A place to write to, which takes the name `path` when all is written, and vanishes when that fails.

    The place has the suffix of `path` unless told.

    Raises:
        LikenessError: If the disk is full or the place cannot be written.
    """
    ending = f"{PARTIAL}{path.suffix}" if suffix is None else suffix
    partial = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}{ending}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        sync(partial)
        patiently(lambda: partial.replace(path))
        sync_names(path.parent)
    except LikenessError as error:
        if str(partial) not in (error.where or ""):
            raise
        raise LikenessError(error.what, where=str(path), do=error.do) from error
    except OSError as error:
        raise LikenessError(
            f"nothing was written: {reason(error)}",
            where=str(path),
            do="free some room or choose another place",
        ) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def reason(error: OSError) -> str:
    """What the system says, in words."""
    return (error.strerror or str(error)).lower()


def sync(path: Path, flags: int = os.O_RDWR) -> None:
    """Make what a file holds outlast a loss of power.

    Raises:
        OSError: If the disk is full.
    """
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_names(folder: Path) -> None:
    """Make the names in a folder outlast a loss of power, where the system can."""
    if WINDOWS:  # whose folders cannot be opened
        return
    with suppress(OSError):
        sync(folder, os.O_RDONLY)


def patiently(act: Callable[[], T]) -> T:
    """What `act` returns: Windows refuses for a moment what another process has open, so it is asked again.

    Raises:
        PermissionError: If the file stays in use, or may not be touched at all.
    """
    for _ in range(PATIENCE if WINDOWS else 0):
        try:
            return act()
        except PermissionError:
            time.sleep(0.02)
    return act()


def sweep(folder: Path) -> None:
    """Remove what processes that were killed while writing have left half done; the folder must be claimed."""
    for partial in folder.glob(f".*{PARTIAL}"):
        with suppress(OSError):
            partial.unlink(missing_ok=True)
