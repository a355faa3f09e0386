"""Which folders of a data set are parts (train, test), which are classes, and which are neither."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from likeness.core.batch import Batch
from likeness.core.errors import BadData
from likeness.core.space import Space, label
from likeness.data.folders import Folders, Listing, counted, listed, walk
from likeness.data.source import Loud

# Names in lower case.
PARTS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("valid", "validation", "val", "dev"), "valid"),
    **dict.fromkeys(("test", "testing"), "test"),
}
USES = {"train": "to learn from", "valid": "to choose by", "test": "to test on"}
WRAPPERS = frozenset(
    {
        *("image", "images", "img", "imgs", "picture", "pictures", "photo", "photos"),
        *("audio", "sound", "sounds", "wav", "wavs", "data", *PARTS),
    }
)
COMPANIONS = frozenset(
    {"label", "labels", "mask", "masks", "annotation", "annotations", "target", "targets"}
)
SYSTEM_FILES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini"})
UNREAD_MEDIA = frozenset(
    {
        *(
            ".heic",
            ".heif",
            ".avif",
            ".svg",
            ".psd",
            ".jp2",
            ".jxl",
            ".dng",
            ".tga",
            ".ico",
            ".exr",
            ".hdr",
        ),
        *(
            ".mp3",
            ".flac",
            ".ogg",
            ".opus",
            ".m4a",
            ".aac",
            ".wma",
            ".aif",
            ".aiff",
            ".mp4",
            ".mov",
            ".avi",
        ),
    }
)
ADVICE = {
    "image": "put PNG or JPEG files in it, a folder a class",
    "sound": "put WAV files in it, a folder a class",
}


@dataclass(frozen=True)
class Arrangement:
    """Files by part, and the class of each.

    Args:
        files: The files of each part: under "all", or under "train", "valid" and "test".
        classes: The class of each of these files, None for one that lies in no class.
        notes: How folders were read, and what was passed over.
    """

    files: Mapping[str, tuple[Path, ...]]
    classes: Mapping[str, tuple[str | None, ...]]
    notes: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all classes, sorted."""
        return _names(*self.classes.values())

    def given(self, part: str) -> tuple[Batch | None, Space | None]:
        """The classes of a part as what is given, and their Space; None and None without classes."""
        names = self.names
        if not names:
            return None, None
        # Codes in the order of names; -1 where a file lies outside the classes.
        place = {name: i for i, name in enumerate(names)}
        codes = torch.tensor([place.get(name or "", -1) for name in self.classes[part]])[:, None]
        known = codes >= 0
        observed = None if bool(known.all()) else known
        return Batch(codes.clamp_min(0).float(), observed), label(len(names), names)


def arrange(root: Path, suffixes: Collection[str], noun: str) -> Arrangement:
    """The files below a folder by part and class.

    Folders called train, and valid or test, are parts. Folders below a part, or below the root, are
    classes, but for one called images (or the like), which holds all that is read, and its
    neighbours labels and masks.

    Args:
        root: The folder.
        suffixes: Which files are read, in lower case.
        noun: What they are called: "image" or "sound".

    Raises:
        BadData: If there are none, or none to learn from.
    """
    # The folders between the root and each file say everything.
    listing = walk(root)
    depth = len(root.parts)
    places = {file: file.parts[depth:-1] for file in listing.of(suffixes)}
    if not places:
        raise BadData(
            f"the folder holds no {noun}s{_instead(listing)}", where=str(root), do=ADVICE[noun]
        )
    # 1. Wrappers such as data/images are stepped into.
    base, notes = _base((), places.values(), noun, nested=True)
    # 2. Train, valid and test, if the folders are called so.
    parts, part_notes = _parts(base, places.values(), noun, str(root))
    # 3. The folder below its part is a file's class.
    files: dict[str, tuple[Path, ...]] = {}
    classes: dict[str, tuple[str | None, ...]] = {}
    for part, bases in parts.items():
        files[part] = tuple(
            file for file, place in places.items() if _home(place, bases) is not None
        )
        classes[part] = tuple(_class(places[file], bases) for file in files[part])
    arrangement = Arrangement(files, classes)
    # 4. What was passed over is said.
    notes = [*listing.notes, *notes, *part_notes, *_classes(arrangement, listing, parts, noun)]
    notes += _strangers([f for f in listing.files if f not in places], noun)
    return replace(arrangement, notes=tuple(notes))


# ---- folders that are no classes -----------------------------------------------------------------


def _base(
    base: Folders, places: Collection[Folders], noun: str, *, nested: bool
) -> tuple[Folders, list[str]]:
    """The folder below `base` that holds all files wanted, and notes on what lies beside it.

    Args:
        base: Where to begin.
        places: The folders of each file.
        noun: What the files are called.
        nested: Whether any folder may be that one if it is alone and holds nothing but folders.
    """
    notes: list[str] = []
    while True:
        # The folders one level further down, and how many files each holds.
        inside = [place[len(base) :] for place in places if place[: len(base)] == base]
        heads = Counter(place[0] for place in inside if place)
        # Files lie here directly: the base is reached.
        if not heads or sum(heads.values()) < len(inside):
            return base, notes
        # Step into the one folder called images (or the like), or into the only folder there is.
        chosen = [head for head in heads if head.lower() in WRAPPERS]
        others = [head for head in heads if head not in chosen]
        alone = nested and len(heads) == 1 and all(len(place) > 1 for place in inside)
        if alone:
            chosen = list(heads)
            others = []
        # Several candidates, or neighbours that may be classes: stay.
        if len(chosen) != 1 or not all(head.lower() in COMPANIONS for head in others):
            return base, notes
        # Masks and labels beside the images are passed over, with a note.
        if others:
            n = sum(heads[head] for head in others)
            notes.append(
                Loud(f"{counted(n, noun)} in {listed(others)} passed over, beside {chosen[0]!r}")
            )
        else:
            notes.append(f"all {noun}s lie in the folder {chosen[0]!r}, which is no class")
        base = (*base, chosen[0])


def _parts(
    base: Folders, places: Collection[Folders], noun: str, where: str
) -> tuple[dict[str, list[Folders]], list[str]]:
    """The folders of each part, and notes; all is one part where no folders are called so."""
    inside = [place[len(base) :] for place in places if place[: len(base)] == base]
    heads = Counter(place[0] if place else "" for place in inside)
    # Which of the folders are called like parts.
    known = {head: PARTS[head.lower()] for head in sorted(heads) if head.lower() in PARTS}
    kinds = set(known.values())
    # Parts without one to learn from are a mistake.
    if kinds == {"valid", "test"} and len(known) == len(heads):
        raise BadData(
            f"the folders {listed(known)} are parts of a data set, and none is there to learn from",
            where=where,
            do="call one of them train",
        )
    # One part alone is no split.
    if "train" not in kinds or len(kinds) == 1:
        return {"all": [base]}, []

    # The only held-out part is the one that has the last word.
    if "test" not in kinds:
        known = {head: "test" if part == "valid" else part for head, part in known.items()}
    parts: dict[str, list[Folders]] = {}
    notes: list[str] = []
    for head, part in known.items():
        deeper, said = _base((*base, head), places, noun, nested=False)
        parts.setdefault(part, []).append(deeper)
        notes += said
    uses = (f"{head!r} {USES[part]} ({counted(heads[head], noun)})" for head, part in known.items())
    notes.insert(0, f"folders are parts, not classes: {', '.join(uses)}")
    # Files outside every part belong to none.
    strange = [head for head in heads if head not in known]
    if strange:
        n = sum(heads[head] for head in strange)
        places_of = listed(head or "." for head in strange)
        notes.append(Loud(f"{counted(n, noun)} in no part passed over: in {places_of}"))
    return {part: parts[part] for part in USES if part in parts}, notes


def _home(place: Folders, bases: Iterable[Folders]) -> Folders | None:
    """The one of some folders that a place lies in; None if there is none."""
    return next((base for base in bases if place[: len(base)] == base), None)


# ---- classes -------------------------------------------------------------------------------------


def _class(place: Folders, bases: Iterable[Folders]) -> str | None:
    """The folder below its part's that a file lies in."""
    base = _home(place, bases)
    if base is None or len(place) == len(base):
        return None
    return _readable(place[len(base)])


def _readable(name: str) -> str:
    """A folder's name as text.

    Accents are composed, since systems write them in two ways; bytes that are no text are escaped.
    """
    return unicodedata.normalize("NFC", os.fsencode(name).decode("utf-8", "backslashreplace"))


def _names(*classes: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(sorted({name for some in classes for name in some if name is not None}))


def _classes(
    found: Arrangement, listing: Listing, parts: Mapping[str, list[Folders]], noun: str
) -> list[str]:
    """Notes on classes without files, and files without classes."""
    if not found.names:
        return []
    notes: list[str] = []
    empty = sorted(_children(listing, parts) - set(found.names))
    if empty:
        verb = "holds" if len(empty) == 1 else "hold"
        notes.append(Loud(f"{counted(len(empty), 'folder')} {verb} no {noun}s: {listed(empty)}"))
    learned = found.classes.get("train", found.names)
    unlearned = sorted(set(found.names) - set(learned))
    if unlearned:
        notes.append(Loud(f"no {noun}s to learn from in {listed(unlearned)}"))
    bare = sum(name is None for some in found.classes.values() for name in some)
    if bare:
        notes.append(f"{counted(bare, noun)} outside the folders of classes: the label is missing")
    return notes


def _children(listing: Listing, parts: Mapping[str, list[Folders]]) -> set[str]:
    """The folders that are classes if they hold files."""
    bases = [base for some in parts.values() for base in some]
    inner = [
        (folder, base)
        for folder in listing.folders
        for base in bases
        if folder[: len(base)] == base
    ]
    names = {folder[len(base)] for folder, base in inner if len(folder) > len(base)}
    return {_readable(name) for name in names if name.lower() not in COMPANIONS}


# ---- what is passed over -------------------------------------------------------------------------


def _kinds(files: Sequence[Path]) -> Counter[str]:
    """How many files there are of each type."""
    return Counter(
        file.suffix.lower() or "no type" for file in files if file.name.lower() not in SYSTEM_FILES
    )


def _spoken(kinds: Counter[str]) -> str:
    return ", ".join(f"{n:,} of {kind}" for kind, n in kinds.most_common(4)) + (
        ", ..." if len(kinds) > 4 else ""
    )


def _strangers(files: Sequence[Path], noun: str) -> list[str]:
    if not files:
        return []
    kinds = _kinds(files)
    note = f"{len(files)} files that are no {noun}s were passed over" + (
        f": {_spoken(kinds)}" if kinds else ""
    )
    unread = UNREAD_MEDIA & set(kinds)
    return [Loud(f"{note} ({', '.join(sorted(unread))} cannot be read)") if unread else note]


def _instead(listing: Listing) -> str:
    kinds = _kinds(listing.files)
    return f" but {_spoken(kinds)}" if kinds else ""
