"""Series of classes as the UCR and UEA archives hold them (.ts): a head of @ lines, then a series a line.

A line is dimensions parted by ":", the values of each by ","; "?" and NaN are missing; the class is
last.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from likeness.core.batch import Batch, as_batch
from likeness.core.errors import BadData
from likeness.core.space import Space, label, series
from likeness.data.arrays import Array
from likeness.data.limits import array_memory, check_memory
from likeness.data.source import Reading, Table
from likeness.data.textfile import decode, lines

PARTS = {"train": "_TRAIN", "test": "_TEST"}
MISSING = "?"
TIMED = "series with a time for each value are not read"
QUOTED = 40  # characters of what is quoted
PIECE = 2**16  # characters of a line that are cut into cells at once
WHOLE_NUMBER = re.compile(r"0*[1-9][0-9]{0,17}")
ODD = re.compile(r"[^0-9a-zA-Z.+-]")  # float() reads 1_0 and digits of other scripts, too
FLAGS = ("timestamps", "missing", "univariate", "equallength")
WHOLE = {"dimensions": "dimensions", "dimension": "dimensions", "serieslength": "steps"}


@dataclass(frozen=True)
class Head:
    """What the @ lines say; None where they are silent.

    Args:
        classes: The names of the classes, or None where the series have none.
        dimensions: Numbers a step.
        steps: Steps of every series.
        equal: Whether all series have as many steps as the first.
    """

    classes: tuple[str, ...] | None = None
    dimensions: int | None = None
    steps: int | None = None
    equal: bool = False


@dataclass(frozen=True)
class Found:
    """The series (T, C) of a file, and the class of each or None."""

    head: Head
    items: list[Array]
    classes: list[str | None]


def read(path: Path, *, name: str) -> Reading:
    """The series of a file, or of NAME_TRAIN.ts and NAME_TEST.ts in one folder, their class kept aside.

    Raises:
        BadData: Naming the file and the line at fault; if two files differ in their dimensions or
            classes.
    """
    # One file, or a training and a test file.
    files = parts(path)
    series_of = {part: parse(file) for part, file in files.items()}
    first = next(iter(series_of.values()))
    # Both must agree in dimensions and classes.
    for part, other in series_of.items():
        for what, mine, theirs in _compared(first, other):
            if mine != theirs:
                raise BadData(
                    f"{what} {theirs} where the other part has {mine}",
                    where=str(files[part]),
                    do="give two parts of one set",
                )
    # One Space, laid out to the longest series of both.
    longest = max(len(item) for f in series_of.values() for item in f.items)
    space = series(first.items[0].shape[1], longest)
    batches = {part: _batch(space, f.items, files[part]) for part, f in series_of.items()}
    names = first.head.classes
    if names is None:
        return Reading({part: Table(space, batch, None, name) for part, batch in batches.items()})
    # The class is kept aside: a label that models may be given or judged by.
    codes = label(len(names), names).model_copy(update={"names": ("label",)})
    tables = {
        part: Table(space, batch.given_as(_codes(series_of[part].classes, names)), codes, name)
        for part, batch in batches.items()
    }
    return Reading(tables, aside="label")


def _batch(space: Space, items: Sequence[Array], path: Path) -> Batch:
    """Series side by side.

    Raises:
        BadData: If that takes more memory than is allowed.
    """
    longest = max(space.longest or 0, *map(len, items))
    check_memory(array_memory(len(items) * longest * items[0].shape[1], 8), path)
    return as_batch(space, list(items))


def _compared(first: Found, other: Found) -> Iterator[tuple[str, object, object]]:
    yield "dimensions", first.items[0].shape[1], other.items[0].shape[1]
    yield "classes", sorted(first.head.classes or ()), sorted(other.head.classes or ())


def _codes(classes: Sequence[str | None], names: Sequence[str]) -> Batch:
    """The code of each class (B, 1), hidden where it has none."""
    place: dict[str | None, int] = {name: code for code, name in enumerate(names)}
    codes = torch.tensor([place.get(name, -1) for name in classes], dtype=torch.float32)[:, None]
    known = codes >= 0
    return Batch(codes.clamp(min=0), None if bool(known.all()) else known)


def of_file(space: Space, given_space: Space | None, path: Path) -> tuple[Batch, tuple[str, ...]]:
    """The series of one file as a model's Spaces read them, and what users should hear.

    Their classes are the condition where it is one; a class that was never learned is hidden.

    Raises:
        BadData: If the file is broken, or its series are not those of the Space.
    """
    file = parse(path)
    batch = _batch(space, file.items, path)
    # Classes the model does not know are hidden, and named in a note.
    labels = None if given_space is None else getattr(given_space.variables[0], "labels", None)
    if not labels or not file.head.classes:
        return batch, ()
    odd = Counter(name for name in file.classes if name is not None and name not in labels)
    said = tuple(
        f"class {name!r} was never learned: that of {count:,} series is taken as not known"
        for name, count in odd.items()
    )
    return batch.given_as(_codes(file.classes, labels)), said


def parts(path: Path) -> Mapping[str, Path]:
    """The files of a set: by part where both lie there, else the one under "all".

    Raises:
        BadData: If a folder holds no set, or several.
    """
    if not path.is_dir():
        # NAME_TRAIN.ts and NAME_TEST.ts belong together.
        stem = next(
            (path.stem.removesuffix(end) for end in PARTS.values() if path.stem.endswith(end)), None
        )
        pair = {part: path.with_name(f"{stem}{end}{path.suffix}") for part, end in PARTS.items()}
        if stem is not None and all(p.exists() for p in pair.values()):
            return pair
        return {"all": path}
    # In a folder: exactly one set.
    files = sorted(p for p in path.iterdir() if p.suffix.lower() == ".ts")
    sets = {tuple(parts(file).values()): parts(file) for file in files}
    if len(sets) != 1:
        names = ", ".join(file.name for file in files[:6]) or "no .ts files"
        raise BadData(
            f"the folder holds {names}",
            where=str(path),
            do="give a folder of one set, or one of the files",
        )
    return next(iter(sets.values()))


# ---- one file ------------------------------------------------------------------------------------


def parse(path: Path) -> Found:
    """The series of one file.

    Raises:
        BadData: Naming the file and the line at fault, and what to do.
    """
    head = Head()
    items = list[Array]()
    classes = list[str | None]()
    begun = False
    # Line by line: @ lines up to @data, then a series each.
    for number, line in enumerate(lines(decode(path)), 1):
        line = line.strip()
        if not line or line[0] in "#%":
            continue
        try:
            if not begun:
                begun, head = _headed(line, head)
                continue
            item, class_ = _series(line, head)
            if head.equal and items:
                _check_steps(len(item), len(items[0]))
        except BadData as error:
            raise BadData(error.what, where=f"{path}, line {number}", do=error.do) from error
        # The first series fixes the dimensions for the others.
        head = replace(head, dimensions=item.shape[1])
        items.append(item)
        classes.append(class_)
    if not items:
        if begun:
            said = "there are no series"
        else:
            said = "there is no line @data"
        raise BadData(said, where=str(path), do="give a file with a series a line below @data")
    return Found(head, items, classes)


def _check_steps(steps: int, first: int) -> None:
    if steps != first:
        what = f"{steps} steps where the first series has {first}, and @equalLength is true"
        raise BadData(what, do="mend the line, or write @equalLength false")


def _headed(line: str, head: Head) -> tuple[bool, Head]:
    """Whether the series begin below this line of the head, and what is known with it."""
    if not line.startswith("@"):
        raise BadData("a series before the line @data", do="put @data above the first series")
    # "@tag value ..."
    word, *said = line[1:].split() or [""]
    tag = word.lower()
    if tag in {"data", "problemname"}:
        return tag == "data", head
    if tag in FLAGS:
        return False, _flagged(tag, _flag(tag, said), head)
    # Numbers of dimensions and steps.
    if tag in WHOLE:
        if len(said) != 1 or not WHOLE_NUMBER.fullmatch(said[0]):
            what = f"@{word[:QUOTED]} takes a whole number from 1 on"
            raise BadData(what, do="mend the line, or leave it out")
        if WHOLE[tag] == "steps":
            return False, replace(head, steps=int(said[0]))
        return False, replace(head, dimensions=int(said[0]))
    # Class names
    if tag == "classlabel":
        return False, replace(head, classes=_classes(said))
    # Targets that are numbers belong to regression archives.
    if tag == "targetlabel":
        if said and _flag(tag, said[:1]):
            raise BadData(
                "series with a number as their target are not read",
                do="give it as given=, an array",
            )
        return False, head
    raise BadData(
        f"nothing is known of @{word[:QUOTED]}", do="leave the line out, or mend its name"
    )


def _flagged(tag: str, value: bool, head: Head) -> Head:
    """What is known with a line that says true or false."""
    if tag == "timestamps" and value:
        raise BadData(TIMED, do="write values alone, @timeStamps false")
    if tag == "univariate" and value:
        return replace(head, dimensions=1)
    if tag == "equallength":
        return replace(head, equal=value)
    return head


def _flag(tag: str, said: Sequence[str]) -> bool:
    if len(said) != 1 or said[0].lower() not in {"true", "false"}:
        raise BadData(f"@{tag} is neither true nor false", do="write one of the two")
    return said[0].lower() == "true"


def _classes(said: Sequence[str]) -> tuple[str, ...] | None:
    if not _flag("classLabel", said[:1]):
        return None
    names = tuple(said[1:])
    if not names or len(set(names)) < len(names):
        raise BadData(
            "@classLabel true names no classes, or one twice",
            do="write @classLabel true and each class once",
        )
    return names


def _series(line: str, head: Head) -> tuple[Array, str | None]:
    """A series (T, C) and its class."""
    # "1,2,3:4,5,6:class": dimensions parted by colons, the class last.
    *fields, last = line.split(":")
    fields, class_ = ([*fields, last], None) if head.classes is None else (fields, last.strip())
    if head.classes is not None and class_ not in {*head.classes, MISSING}:
        raise BadData(
            f"{str(class_)[:40]!r} is none of the classes {', '.join(head.classes[:8])}",
            do='end the line with ":" and its class, or name the class in @classLabel',
        )
    if head.dimensions not in {None, len(fields)}:
        raise BadData(
            f"{len(fields)} dimensions where {head.dimensions} are expected", do='part them by ":"'
        )
    # Each dimension (T,), all of one length.
    values = [_values(field) for field in fields]
    lengths = sorted({len(v) for v in values})
    if not values or len(lengths) > 1:
        raise BadData(
            f"dimensions of {', '.join(map(str, lengths)) or 'no'} values",
            do="give one for each step",
        )
    if head.steps not in {None, lengths[0]}:
        what = f"{lengths[0]} steps where @seriesLength says {head.steps}"
        raise BadData(what, do="mend the line, or leave it out")
    # Dimensions become the last axis: C x (T,) -> (T, C).
    return np.stack(values, -1), None if class_ == MISSING else class_


def _values(field: str) -> Array:
    """The values of a dimension (T,), NaN where they are missing."""
    values = np.concatenate([_numbers(cells) for cells in _cells(field)])
    if np.isinf(values).any():
        raise BadData("inf is not a finite number", do="mend it, or write ? where it is missing")
    return values


def _cells(field: str) -> Iterator[list[str]]:
    """What stands between commas, some thousands at a time: a list of all takes much memory."""
    start = 0
    # Cut at the first comma behind each piece, so that no cell is torn.
    while (end := field.find(",", start + PIECE)) >= 0:
        yield field[start:end].split(",")
        start = end + 1
    yield field[start:].split(",")


def _numbers(cells: Sequence[str]) -> Array:
    return np.array([_number(cell.strip()) for cell in cells])


def _number(cell: str) -> float:
    if cell == MISSING:
        return np.nan
    # Only what looks like a decimal number goes to float().
    if ODD.search(cell) is None:
        with suppress(ValueError):
            return float(cell)
    if cell.startswith("("):
        raise BadData(TIMED, do="write values alone")
    what = f"{cell[:QUOTED]!r} is not a number"
    raise BadData(what, do="mend it, or write ? where it is missing")
