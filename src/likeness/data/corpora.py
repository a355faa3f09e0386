"""Documents as ragged sequences of word codes: LDA-C's bags of words, and plain text cut into words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from likeness.core.batch import Batch
from likeness.core.errors import BadData
from likeness.core.space import Nominal, Space
from likeness.data.limits import array_memory, check_memory
from likeness.data.source import Reading, Table
from likeness.data.textfile import decode, lines

WORDS = "words"  # what a Space's `source` says of documents that were cut into words
KINDS = ("text", "texts", "bags")  # of paths
SHOWN = 6
WORD = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*")  # letters, with apostrophes between them
BAG = re.compile(r"\d+(?:\s+\d+:\d+)*")  # a line of LDA-C's format
BESIDE = ("{stem}.vocab", "{stem}.tokens", "{stem}.vocab.txt", "vocab.{stem}.txt", "vocab.txt")
ORDER = (
    "documents are bags: their words stand in the order of their numbers, not as they were written"
)


def read(documents: Sequence[str], least: int, *, name: str) -> Reading:
    """Texts as sequences of their words in lower case, those seen at least so often; the commonest has code 0.

    Raises:
        BadData: If no word is seen so often.
    """
    cut = [words_of(text) for text in documents]
    seen = Counter(word for words in cut for word in words)
    labels = tuple(sorted((w for w in seen if seen[w] >= least), key=lambda w: (-seen[w], w)))
    if not labels:
        raise BadData(f"no word is seen {least} times", do="give more text, or a smaller words=")
    place = {word: i for i, word in enumerate(labels)}
    items = [np.array([place[w] for w in words if w in place], dtype=np.int64) for words in cut]
    rare = len(seen) - len(labels)
    notes = (f"{rare:,} words seen less than {least} times were left out",) if rare else ()
    return _reading(items, labels, len(labels), notes, name)


def words_of(text: str) -> list[str]:
    """The words of a text in lower case: runs of letters, with apostrophes between them."""
    return WORD.findall(text.lower())


def read_bags(path: Path, *, name: str, vocabulary: Path | None = None) -> Reading:
    """A corpus in LDA-C's format, words by their names where a list of them is given or lies beside the file.

    Raises:
        BadData: Naming the file and line at fault.
    """
    items, most = _bags(path)
    listed = _listed(path, vocabulary)
    if listed is None:
        note = f"no list of words such as {BESIDE[0].format(stem=path.stem)} lies beside it: words are numbers"
        return _reading(items, None, most + 1, (ORDER, note), name)
    labels = _read_list(listed)
    if most >= len(labels):
        line = next(i for i, item in enumerate(items, 1) if len(item) and item[-1] >= len(labels))
        raise BadData(
            f"word {items[line - 1][-1]} where {listed.name} lists words 0 to {len(labels) - 1}",
            where=f"{path}, line {line}",
            do="give the list of words that belongs to the file",
        )
    return _reading(items, labels, len(labels), (ORDER,), name)


def bags(path: Path) -> list[np.ndarray]:
    """The codes of each line's words in a file of LDA-C's format: "M term:count term:count ...", terms from 0.

    Raises:
        BadData: Naming the file and line at fault.
    """
    return _bags(path)[0]


def is_bags(path: Path) -> bool:
    """Whether a file begins as LDA-C's do."""
    first = next((line.strip() for line in lines(decode(path)) if line.strip()), "")
    return ":" in first and BAG.fullmatch(first) is not None


def encode(space: Space, items: Sequence[str]) -> Batch:
    """Texts as a Batch of a Space of words; words that were not learned are left out, as rare ones were."""
    place = _places(space)
    return _laid(
        [np.array([place[w] for w in words_of(t) if w in place]) for t in items], space.longest or 0
    )


def of_file(space: Space, path: Path) -> tuple[Batch, tuple[str, ...]]:
    """Documents of a file or a folder as a Batch of a Space of words, and what was left out of them.

    Numbers of words in LDA-C's format are those of the list that lies beside the file, else the
    model's own.

    Raises:
        BadData: If the file holds no documents, or is text where words were learned as numbers.
    """
    bagged = not path.is_dir() and is_bags(path)
    if not bagged and not _places(space):
        raise BadData(
            "text where words were learned as numbers",
            where=str(path),
            do="give a file in LDA-C's format",
        )
    documents: list[list[str]] = (
        _named_bags(space, path) if bagged else [words_of(text) for text in texts(path)]
    )
    place = _places(space) or {str(k): k for k in range(int(space.variables[0].states))}
    items = [
        np.array([place[w] for w in words if w in place], dtype=np.int64) for words in documents
    ]
    return _laid([np.sort(i) if bagged else i for i in items], space.longest or 0), _left(
        documents, place
    )


def texts(path: Path) -> list[str]:
    """The lines of a text that are not empty, or the texts below a folder in the order of their names."""
    if path.is_dir():
        return [decode(p) for p in sorted(path.rglob("*")) if p.suffix.lower() == ".txt"]
    return [line for line in lines(decode(path)) if line]


def _named_bags(space: Space, path: Path) -> list[list[str]]:
    """The words of each line of LDA-C's format: by the list that lies beside it, else by the Space's own."""
    own = tuple(_places(space))
    listed = _listed(path, None) if own else None
    names = own if listed is None else _read_list(listed)
    return [[names[k] if k < len(names) else str(k) for k in bag.tolist()] for bag in bags(path)]


def _left(documents: Sequence[Sequence[str]], place: Mapping[str, int]) -> tuple[str, ...]:
    """What users should hear of words that were never learned."""
    odd = Counter(word for words in documents for word in words if word not in place)
    if not odd:
        return ()
    total = sum(map(len, documents))
    bare = sum(not any(w in place for w in words) for words in documents)
    shown = ", ".join(word for word, _ in odd.most_common(SHOWN)) + (
        ", ..." if len(odd) > SHOWN else ""
    )
    note = f"never learned and left out, {odd.total():,} of {total:,} words: {shown}"
    if bare:
        return (note, f"documents without a word that was learned: {bare:,} of {len(documents):,}")
    return (note,)


def _places(space: Space) -> dict[str, int]:
    """The code of each word, by its name; empty where words are numbers."""
    variable = space.variables[0]
    assert variable.type == "nominal"
    return {word: i for i, word in enumerate(variable.labels or ())}


def _bags(path: Path) -> tuple[list[np.ndarray], int]:
    items = [_bag(line, f"{path}, line {i}") for i, line in enumerate(lines(decode(path)), 1)]
    most = max((int(item[-1]) for item in items if len(item)), default=-1)
    if most < 0:
        raise BadData(
            "the file holds no words", where=str(path), do="give lines such as '2 0:1 5:3'"
        )
    return items, most


def _bag(line: str, where: str) -> np.ndarray:
    """A line's words in the order of their numbers, each as often as it is counted."""
    text = line.strip()
    if not text:
        return np.zeros(0, np.int64)
    if not BAG.fullmatch(text):
        odd = next(
            (p for p in text.split()[1:] if not re.fullmatch(r"\d+:\d+", p)), text.split()[0]
        )
        raise BadData(
            f"{odd!r} is not term:count", where=where, do="write lines such as '2 0:1 5:3'"
        )
    numbers = np.array(text.replace(":", " ").split(), dtype=np.int64)
    terms = numbers[1::2]
    counts = numbers[2::2]
    if len(terms) != numbers[0]:
        raise BadData(
            f"{len(terms)} words where {numbers[0]} are announced", where=where, do="mend the line"
        )
    if not (counts > 0).all():
        raise BadData(
            f"word {terms[counts.argmin()]} is counted 0 times", where=where, do="leave it out"
        )
    check_memory(array_memory(int(counts.sum(dtype=np.float64)), 8), where)
    return np.sort(np.repeat(terms, counts))


def _listed(path: Path, vocabulary: Path | None) -> Path | None:
    """The list of a file's words: the one that is given, or that lies beside it."""
    beside = (path.with_name(form.format(stem=path.stem)) for form in BESIDE)
    return vocabulary or next((p for p in beside if p.exists()), None)


def _read_list(path: Path) -> tuple[str, ...]:
    return tuple(line.strip() for line in lines(decode(path)) if line.strip())


def _reading(
    items: list[np.ndarray],
    labels: tuple[str, ...] | None,
    words: int,
    notes: tuple[str, ...],
    name: str,
) -> Reading:
    kept = [item for item in items if len(item)]
    if not kept:
        raise BadData("no document holds a word", where=name)
    passed = len(items) - len(kept)
    notes = (*notes, *((f"{passed} documents without words were passed over",) if passed else ()))
    space = Space(
        axes=("time",),
        shape=(None,),
        variables=(Nominal(categories=words, labels=labels),),
        longest=max(map(len, kept)),
        source=WORDS,
    )
    return Reading({"all": Table(space, _laid(kept, space.longest or 0), name=name)}, notes)


def _laid(items: Sequence[np.ndarray], longest: int) -> Batch:
    """Codes of words as a Batch, 0 behind the end."""
    widest = max([longest, *map(len, items)])
    check_memory(array_memory(len(items) * widest, 4))
    x = torch.zeros((len(items), widest), dtype=torch.float32)
    for row, item in enumerate(items):
        x[row, : len(item)] = torch.from_numpy(item)
    return Batch(x, length=torch.tensor([len(item) for item in items], dtype=torch.int64))
