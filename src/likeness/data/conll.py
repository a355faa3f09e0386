"""Tagged sentences in columns (CoNLL): a word a line with its features and, last, its label; an empty line between.

The labels are the items, the other columns are given step by step; of the first column its lower
case, its first and last three letters and its shape are columns too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch

from likeness.core.batch import Batch
from likeness.core.errors import BadData
from likeness.core.space import Nominal, Space
from likeness.data.source import Reading, Table
from likeness.data.tables import unknown_label
from likeness.data.textfile import decode, lines, lines_with_ends

Sentence = list[tuple[str, ...]]
SPELT = ("lower", "prefix", "suffix", "shape")
UNTOLD = ("_", "?", "")  # what stands for a label that is not known, unless it was learned as one
STEPS_MOST = 1000  # a longer sentence is a file without empty lines


def sentences(path: Path) -> list[Sentence]:
    """The sentences of a file, each a list of its lines' columns.

    Raises:
        BadData: Naming the line that has other columns than the first, or a sentence without end.
    """
    found: list[Sentence] = []
    now: Sentence = []
    width = 0
    for number, line in enumerate(lines(decode(path)), 1):
        fields = _fields(line)
        if fields is None:
            found += [now] if now else []
            now = []
            continue
        width = width or len(fields)
        if len(fields) != width:
            wanted = f"{width} columns as the first line has"
            raise BadData(
                f"{len(fields)} columns where there should be {wanted}",
                where=f"line {number}",
                do="mend the line",
            )
        now.append(fields)
        if len(now) > STEPS_MOST:
            raise BadData(
                f"a sentence of over {STEPS_MOST:,} words",
                where=f"line {number}",
                do="put empty lines between",
            )
    if now:
        found.append(now)
    if not found:
        raise BadData(
            "there are no sentences", do="give lines of a word, its features and its label"
        )
    return found


def _fields(line: str) -> tuple[str, ...] | None:
    """The columns of a line, None where it holds no word."""
    fields = tuple(line.split("\t") if "\t" in line else (word for word in line.split(" ") if word))
    if not any(f.strip() for f in fields) or fields[0] == "-DOCSTART-":
        return None
    return fields


def tagged(path: Path, tags: Iterable[Sequence[str]], columns: int) -> str:
    """The text of a file with more columns behind those that it has, all else as it stands.

    Args:
        path: The file.
        tags: What goes behind the line of each word, in order.
        columns: How many columns of each line stay: a label that follows them gives way.
    """
    given = iter(tags)
    written = []
    for body, end in lines_with_ends(decode(path)):
        fields = _fields(body)
        if fields is None:
            written.append(body + end)
        else:
            mark = "\t" if "\t" in body else " "
            kept = body if mark == "\t" else body.rstrip(" ")
            if not len(fields) <= columns:
                kept = kept[: len(kept) - len(fields[-1])].removesuffix(mark)
            written.append(mark.join([kept, *next(given)]) + end)
    return "".join(written)


def read(files: Mapping[str, Path], *, name: str, names: Sequence[str] | None = None) -> Reading:
    """Parts of one set, the codes of all its words and labels taken together.

    Args:
        files: A file for each part ("train", "test", ...), or one under "all".
        name: What reports call it.
        names: Names of the columns before the label; word, c1, c2, ... unless told.
    """
    parts = {part: sentences(path) for part, path in files.items()}
    everything = [s for part in parts.values() for s in part]
    width = len(everything[0][0]) - 1
    if width < 1:
        raise BadData(
            "1 column where there should be a word and its label at least",
            where="line 1",
            do="add labels",
        )
    named = tuple(names or ("word", *(f"c{i}" for i in range(1, width))))
    if len(named) != width:
        raise BadData(
            f"{len(named)} names for {width} columns before the label", do="name each of them"
        )
    longest = max(map(len, everything))
    label = _categories(fields[-1] for s in everything for fields in s)
    columns = [
        _categories(values)
        for values in zip(*(_features(f) for s in everything for f in s), strict=True)
    ]
    space = Space(axes=("time",), shape=(None,), variables=(label,), longest=longest, source="tags")
    given = Space(
        axes=("time", "column"),
        shape=(None, len(columns)),
        variables=tuple(columns),
        names=(*named, *SPELT),
        longest=longest,
        source="tags",
    )
    tables = {part: Table(space, encode(space, given, s), given, name) for part, s in parts.items()}
    notes = (
        f"{len(label.labels or ())} labels of steps, told from {len(columns)} columns given with them",
    )
    return Reading(tables, notes)


def of_file(space: Space, given_space: Space | None, path: Path) -> Batch:
    """The sentences of a file as a model's Spaces read them, their labels hidden where its lines have none.

    Raises:
        BadData: If the model was not learned from such sentences, or the columns are not those.
    """
    items = sentences(path)
    if given_space is None:
        columns = 0
    else:
        columns = len(given_space.variables) - len(SPELT)
    if given_space is None or space.source != "tags" or given_space.source != "tags":
        raise BadData(
            "tagged sentences where the model learned other items", do="give items of its kind"
        )
    if len(items[0][0]) not in {columns, columns + 1}:
        wanted = ", ".join((given_space.names or ())[:columns])
        raise BadData(
            f"{len(items[0][0])} columns a word",
            where="line 1",
            do=f"give {wanted}, and the label if known",
        )
    return encode(space, given_space, items)


def encode(space: Space, given_space: Space, items: Sequence[Sentence]) -> Batch:
    """Sentences as codes; a word that is not known is hidden, as is a label that is left out, or _ or ? in its place.

    Raises:
        BadData: If a label was never learned.
    """
    places = [_places(v) for v in (*given_space.variables, space.variables[0])]
    longest = max([space.longest or 0, *map(len, items)])
    width = len(given_space.variables)
    x = torch.full((len(items), longest, width + 1), -1.0)
    for row, item in enumerate(items):
        codes = [_codes(fields, places, width, row, step) for step, fields in enumerate(item)]
        x[row, : len(item)] = torch.tensor(codes)
    length = torch.tensor([len(item) for item in items], dtype=torch.int64)
    known = x >= 0
    x = x.clamp(min=0)
    given = Batch(x[..., :width], observed=known[..., :width], length=length)
    return Batch(x[..., width], observed=known[..., width], length=length, given=given)


def _codes(
    fields: tuple[str, ...], places: Sequence[Mapping[str, int]], width: int, row: int, step: int
) -> list[float]:
    told = len(fields) > width - len(SPELT)
    seen = [
        float(place.get(value, -1))
        for place, value in zip(places, _features(fields, told), strict=False)
    ]
    label = places[-1].get(fields[-1], -1) if told else -1
    if told and label < 0 and fields[-1] not in UNTOLD:
        raise unknown_label(fields[-1], tuple(places[-1]), f"row {row}, word {step + 1}")
    return [*seen, float(label)]


def _features(fields: tuple[str, ...], told: bool = True) -> tuple[str, ...]:
    """The columns before the label, and how the first is spelt."""
    word = fields[0]
    return (*(fields[:-1] if told else fields), word.lower(), word[:3], word[-3:], shape(word))


def shape(word: str) -> str:
    """Capitals as X, small letters as x, digits as 9; runs of more than two as two."""
    kinds = (
        "9" if c.isdigit() else "X" if c.isupper() else "x" if c.isalpha() else c for c in word
    )
    return re.sub(r"(.)\1{2,}", r"\1\1", "".join(kinds))


def _categories(values: Iterable[str]) -> Nominal:
    found = tuple(sorted(set(values)))
    return Nominal(categories=len(found), labels=found)


def _places(variable: object) -> dict[str, int]:
    return {label: i for i, label in enumerate(getattr(variable, "labels", None) or ())}
