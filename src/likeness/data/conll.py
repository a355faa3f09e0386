"""Tagged sentences in columns (CoNLL): a word a line with its features and, last, its label; an empty line between.

The labels are the items, the other columns are given step by step; of the first column its lower
case, its first and last three letters and its shape are columns too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from likeness.core.batch import Batch
from likeness.core.errors import BadData
from likeness.core.space import Nominal, Space
from likeness.data.conllfile import UNTOLD, Columns, Sentence, TaggedFile, parse
from likeness.data.limits import array_memory, check_memory
from likeness.data.sequences import position
from likeness.data.source import Reading, Table, inside
from likeness.data.tables import unknown_label

SPELT = ("lower", "prefix", "suffix", "shape")


def sentences(path: Path) -> list[Sentence]:
    """The sentences of a file, each a list of its lines' columns.

    Raises:
        BadData: Naming the line that has other columns than the first, or a sentence without end.
    """
    return parse(path).sentences


def read(files: Mapping[str, Path], *, name: str, names: Sequence[str] | None = None) -> Reading:
    """Parts of one set, the codes of all its words and labels taken together.

    Args:
        files: A file for each part ("train", "test", ...), or one under "all".
        name: What reports call it.
        names: Names of the columns before the label; word, c1, c2, ... unless told.
    """
    # All parts share one set of codes.
    parts = _parts(files)
    sentences_of = {part: file.sentences for part, file in parts.items()}
    everything = [sentence for each in sentences_of.values() for sentence in each]
    # The columns before the label are features.
    width = len(everything[0][0]) - 1
    named = tuple(names or ("word", *(f"c{i}" for i in range(1, width))))
    if len(named) != width:
        raise BadData(
            f"{len(named)} names for {width} columns before the label", do="name each of them"
        )
    # Each distinct word line once: corpora repeat them.
    longest = max(map(len, everything))
    words = {fields for sentence in everything for fields in sentence}
    label = _labels((fields[-1] for fields in words), next(iter(parts.values())))
    # Features: the columns, and the word's lower case, prefix, suffix and shape.
    columns = [_categories(values) for values in zip(*map(_features, words), strict=True)]
    space = Space(axes=("time",), shape=(None,), variables=(label,), longest=longest, source="tags")
    given = Space(
        axes=("time", "column"),
        shape=(None, len(columns)),
        variables=tuple(columns),
        names=(*named, *SPELT),
        longest=longest,
        source="tags",
    )
    tables = {
        part: Table(space, encode(space, given, each), given, name)
        for part, each in sentences_of.items()
    }
    said = (
        f"{len(label.labels or ())} labels of steps,"
        f" told from {len(columns)} columns given with them"
    )
    notes = dict.fromkeys(note for file in parts.values() for note in file.notes)
    return Reading(tables, (said, *notes))


def _parts(files: Mapping[str, Path]) -> dict[str, TaggedFile]:
    """The files of a set, the others read as the first one is.

    Raises:
        BadData: If a file has no labels, or other columns than the first.
    """
    tagged = dict[str, TaggedFile]()
    width = 0
    labels = set[str]()
    for part, path in files.items():
        if tagged:
            tagged[part] = parse(path, width - 1, labels)
        else:
            tagged[part] = parse(path)
        first = tagged[part].words[0][0]
        columns = len(tagged[part].sentences[0][0])
        where = f"{path}, line {first.line + 1}"
        if columns < 2:
            what = "1 column where there should be a word and its label at least"
            raise BadData(what, where=where, do="add labels")
        if columns != (width or columns):
            what = f"{columns} columns where the other part has {width}"
            raise BadData(what, where=where, do="give parts of one set")
        width = columns
        labels |= {fields[-1] for sentence in tagged[part].sentences for fields in sentence}
    return tagged


def _labels(labels: Iterable[str], file: TaggedFile) -> Nominal:
    """The labels that occur; in CoNLL-U _ is none."""
    if file.form.label is None:
        return _categories(labels)
    # CoNLL-U marks an absent tag by "_".
    tags = set(labels) - set(UNTOLD)
    if not tags:
        raise BadData("no word has a label", do="give a file whose fourth column holds UPOS tags")
    return _categories(tags)


def file_for(space: Space, given_space: Space | None, path: Path) -> tuple[TaggedFile, Batch]:
    """A file of sentences, and what a model's Spaces read in it.

    Labels are hidden where lines have none.

    Raises:
        BadData: If the model was not learned from such sentences, or the columns are not those.
    """
    if given_space is None or space.source != "tags" or given_space.source != "tags":
        what = "tagged sentences where the model learned other items"
        raise BadData(what, do="give items of its kind")
    # A file to tag may come with labels or without.
    columns = len(given_space.variables) - len(SPELT)
    tagged = parse(path, columns, _places(space.variables[0]))
    width = len(tagged.sentences[0][0])
    if width not in {columns, columns + 1}:
        names = ", ".join((given_space.names or ())[:columns])
        where = f"{path}, line {tagged.words[0][0].line + 1}"
        do = f"give {names}, and the label if known"
        raise BadData(f"{width} columns a word", where=where, do=do)
    with inside(path):
        return tagged, encode(space, given_space, tagged.sentences)


def of_file(space: Space, given_space: Space | None, path: Path) -> Batch:
    """The sentences of a file as a model's Spaces read them.

    Raises:
        BadData: If the model was not learned from such sentences, or the columns are not those.
    """
    return file_for(space, given_space, path)[1]


def encode(space: Space, given_space: Space, items: Sequence[Sentence]) -> Batch:
    """Sentences as codes.

    A word that is not known is hidden, as is a label that is left out, or _ or ? in its place.

    Raises:
        BadData: If a label was never learned.
    """
    # Label -> code of each feature, and last of the labels.
    places = [_places(v) for v in (*given_space.variables, space.variables[0])]
    length = np.array([len(item) for item in items], dtype=np.int64)
    longest = max(space.longest or 0, int(length.max(initial=0)))
    width = len(given_space.variables)
    # Memory is checked before the array is made, (sentences, longest, features + label).
    check_memory(array_memory(len(items) * longest * (width + 1), 4))
    # Each distinct line is coded once, and `which` spreads the codes over all words.
    distinct = dict[Columns, int]()
    which = [distinct.setdefault(fields, len(distinct)) for item in items for fields in item]
    # A label that was never learned is an error, with its place.
    for fields, place in distinct.items():
        if _untold(fields, places, width):
            row, step = position(length, which.index(place))
            where = f"row {row}, word {step + 1}"
            raise unknown_label(fields[-1], tuple(places[-1]), where)
    codes = np.array([_codes(fields, places, width) for fields in distinct], dtype=np.float32)
    # -1 past the end of a sentence and for unknown words; 3-D, then the mask picks real steps.
    x = np.full((len(items), longest, width + 1), -1, dtype=np.float32)
    x[np.arange(longest) < length[:, None]] = codes.reshape(-1, width + 1)[which]
    return _batch(torch.from_numpy(x), torch.from_numpy(length))


def _batch(codes: torch.Tensor, length: torch.Tensor) -> Batch:
    """Codes of features and labels (B, L, C + 1), -1 where one is not known."""
    known = codes >= 0
    x = codes.clamp(min=0)
    # Features (B, L, C) are given, labels (B, L) are x.
    given = Batch(x[..., :-1], observed=known[..., :-1], length=length)
    return Batch(x[..., -1], observed=known[..., -1], length=length, given=given)


def _has_label(fields: Columns, width: int) -> bool:
    return len(fields) > width - len(SPELT)


def _untold(fields: Columns, places: Sequence[Mapping[str, int]], width: int) -> bool:
    """Whether a label was never learned."""
    label = fields[-1]
    return _has_label(fields, width) and label not in places[-1] and label not in UNTOLD


def _codes(fields: Columns, places: Sequence[Mapping[str, int]], width: int) -> list[int]:
    """The codes of a word's features and of its label, -1 where one is not known."""
    labelled = _has_label(fields, width)
    # Features alone have a code where the label is absent.
    features = _features(fields, labelled)
    codes = [place.get(value, -1) for place, value in zip(places, features, strict=False)]
    return [*codes, places[-1].get(fields[-1], -1) if labelled else -1]


def _features(fields: tuple[str, ...], told: bool = True) -> tuple[str, ...]:
    """The columns before the label, and how the first is spelt."""
    word = fields[0]
    return (*(fields[:-1] if told else fields), word.lower(), word[:3], word[-3:], shape(word))


def shape(word: str) -> str:
    """Capitals as X, small letters as x, digits as 9; runs of more than two as two."""
    # Runs longer than two are cut to two: "McDonald-1999" -> "XxXxx-99".
    return re.sub(r"(.)\1{2,}", r"\1\1", "".join(_kind_of(c) for c in word))


def _kind_of(character: str) -> str:
    if character.isdigit():
        return "9"
    if character.isupper():
        return "X"
    if character.isalpha():
        return "x"
    return character


def _categories(values: Iterable[str]) -> Nominal:
    labels = tuple(sorted(set(values)))
    if "" in labels:
        raise BadData("a column holds empty cells", do="write _ where there is nothing to say")
    return Nominal(categories=len(labels), labels=labels)


def _places(variable: object) -> dict[str, int]:
    return {label: i for i, label in enumerate(getattr(variable, "labels", None) or ())}
