"""Folders of files: everything below them, without what belongs to operating systems."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from likeness.core.errors import BadData
from likeness.data.source import Loud

Folders = tuple[str, ...]

SYSTEM_FOLDERS = frozenset(
    {"__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found"}
)
NAMED_MOST = 3


@dataclass(frozen=True)
class Listing:
    """What lies below a folder.

    Args:
        root: The folder.
        files: All files in the order of their names, hidden ones and those of systems left out.
        folders: The names that lead to each folder from the root.
        notes: Links that were not followed.
    """

    root: Path
    files: tuple[Path, ...]
    folders: tuple[Folders, ...]
    notes: tuple[str, ...]

    def of(self, suffixes: Collection[str]) -> list[Path]:
        """The files of these suffixes, which are given in lower case."""
        return [file for file in self.files if file.suffix.lower() in suffixes]


def files(root: Path, suffixes: Collection[str]) -> list[Path]:
    """The files of these suffixes below a folder, in the order of their names."""
    return walk(root).of(suffixes)


def walk(root: Path) -> Listing:
    """What lies below a folder. Links are followed, each folder is read once, and so loops end.

    Raises:
        BadData: If a folder may not be read.
    """
    home = root.resolve()
    read = {home}
    folders: list[Path] = []
    found: list[Path] = []
    broken: list[Path] = []
    repeated: list[Path] = []
    waiting = deque([root])
    links: deque[Path] = deque()

    # Links wait until every folder is read: none is read in place of the folder that it leads to.
    while waiting or links:
        linked = not waiting
        here = links.popleft() if linked else waiting.popleft()
        place = here.resolve()
        if here is not root and (place in read or home.is_relative_to(place)):
            repeated.append(here)
            continue
        read.add(place)
        folders.append(here)
        for entry in _entries(here):
            path = here / entry.name
            kind = _kind(entry)
            if kind == "folder":
                (links if entry.is_symlink() else waiting).append(path)
            elif kind == "file":
                found.append(path)
            elif entry.is_symlink():
                broken.append(path)
    notes = (
        *_passed(broken, root, "which leads nowhere", "which lead nowhere"),
        *_passed(repeated, root, "whose folder is read already", "whose folders are read already"),
    )
    names = tuple(sorted(folder.relative_to(root).parts for folder in folders[1:]))
    return Listing(root, tuple(sorted(found)), names, notes)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            ordered = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise BadData(
            f"the folder cannot be read: {reason}", where=str(folder), do="make it readable"
        ) from error
    return [
        e for e in ordered if not e.name.startswith(".") and e.name.lower() not in SYSTEM_FOLDERS
    ]


def _kind(entry: os.DirEntry[str]) -> str:
    """A folder, a file, or something else: a pipe, or a link that leads nowhere or to itself."""
    try:
        if entry.is_dir():
            return "folder"
        return "file" if entry.is_file() else "other"
    except OSError:
        return "other"


def _passed(links: Sequence[Path], root: Path, one: str, many: str) -> tuple[str, ...]:
    if not links:
        return ()
    names = listed(str(link.relative_to(root)) for link in links)
    if len(links) == 1:
        return (Loud(f"the link {names}, {one}, was passed over"),)
    return (Loud(f"{len(links)} links, {many}, were passed over: {names}"),)


def listed(names: Iterable[str]) -> str:
    """Names in quotes; beyond three the rest are counted."""
    quoted = [repr(name) for name in names]
    more = len(quoted) - NAMED_MOST
    return ", ".join(quoted[:NAMED_MOST]) + (f" and {more:,} more" if more > 0 else "")


def counted(n: int, noun: str) -> str:
    """A number and what it counts."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"
