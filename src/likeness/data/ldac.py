"""LDA-C's format: a document a line, "M term:count term:count ..." with terms from 0, and the list of its words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from likeness.core.errors import BadData
from likeness.data.limits import array_memory, check_memory
from likeness.data.textfile import decode, lines

NUMBER = re.compile(r"[0-9]{1,18}")  # below 2^63
PAIR = re.compile(r"([0-9]{1,18}):([0-9]{1,18})")
SHOWN = 40  # characters of what is quoted
BESIDE = ("{stem}.vocab", "{stem}.tokens", "{stem}.vocab.txt", "vocab.{stem}.txt", "vocab.txt")

Array = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Counts:
    """How often numbered words stand in documents, pair by pair.

    Args:
        document: The document of each pair, (n,).
        term: The number of its word, (n,).
        count: How often it stands there, (n,).
        documents: The number of documents, those without words included.
    """

    document: Array
    term: Array
    count: Array
    documents: int

    @property
    def length(self) -> Array:
        """The words of each document, (D,)."""
        lengths = np.zeros(self.documents, dtype=np.int64)
        np.add.at(lengths, self.document, self.count)
        return lengths

    def words(self, codes: Array) -> Array:
        """The code of each word, each as often as it is counted, in rising order within a document.

        Args:
            codes: The code of each pair's word, (n,).
        """
        order = np.lexsort((codes, self.document))
        return np.repeat(codes[order], self.count[order])


def parse(path: Path) -> Counts:
    """The documents of a file.

    Raises:
        BadData: Naming the file and line at fault; if laying the documents out to the longest
            takes more memory than is allowed, the longest one's line.
    """
    flat = list[int]()
    sizes = list[int]()
    lengths = list[int]()
    for number, line in enumerate(lines(decode(path)), 1):
        pairs = _pairs(line.split(), f"{path}, line {number}")
        lengths.append(sum(pairs[1::2]))
        flat += pairs
        sizes.append(len(pairs) // 2)
    longest = max(lengths, default=0)
    if longest:
        where = f"{path}, line {lengths.index(longest) + 1}"
        check_memory(array_memory(len(lengths) * longest, 4), where)
    document = np.repeat(np.arange(len(sizes)), np.array(sizes, dtype=np.int64))
    numbers = np.array(flat, dtype=np.int64)
    return Counts(document, numbers[::2], numbers[1::2], len(sizes))


def _pairs(fields: list[str], where: str) -> list[int]:
    """Term, count, term, count, ... of a line."""
    if not fields:
        return []
    if not NUMBER.fullmatch(fields[0]):
        raise _odd(fields[0], where)
    pairs = list[int]()
    for field in fields[1:]:
        pair = PAIR.fullmatch(field)
        if pair is None:
            raise _odd(field, where)
        pairs += map(int, pair.groups())
    if len(fields) - 1 != int(fields[0]):
        what = f"{len(fields) - 1} words where {fields[0]} are announced"
        raise BadData(what, where=where, do="mend the line")
    if 0 in pairs[1::2]:
        word = pairs[2 * pairs[1::2].index(0)]
        raise BadData(f"word {word} is counted 0 times", where=where, do="leave it out")
    return pairs


def _odd(field: str, where: str) -> BadData:
    what = f"{field[:SHOWN]!r} is not term:count"
    return BadData(what, where=where, do="write lines such as '2 0:1 5:3'")


def is_bags(path: Path) -> bool:
    """Whether the first line of a file that is not blank is one of LDA-C's format."""
    head, *pairs = next((line.split() for line in lines(decode(path)) if line.strip()), [""])
    return bool(NUMBER.fullmatch(head) and pairs) and all(map(PAIR.fullmatch, pairs))


# ---- the list of words ---------------------------------------------------------------------------


def listed(path: Path, vocabulary: Path | None) -> Path | None:
    """The list of a file's words: the one that is given, or that lies beside it."""
    if vocabulary is not None:
        return vocabulary
    beside = (path.with_name(form.format(stem=path.stem)) for form in BESIDE)
    return next((p for p in beside if p.exists()), None)


def read_list(path: Path) -> tuple[str, ...]:
    """The words of a list, one a line: the word in line 1 has the number 0.

    Raises:
        BadData: If a line between others is empty, or a word stands there twice.
    """
    words = [line.strip(" \t") for line in lines(decode(path))]
    while words and not words[-1]:
        words.pop()
    first = dict[str, int]()
    for number, word in enumerate(words, 1):
        if not word:
            what = f"no word, where word {number - 1} should be"
            raise BadData(what, where=f"{path}, line {number}", do="write one word a line")
        if word in first:
            what = f"the word {word[:SHOWN]!r} stands in line {first[word]} already"
            raise BadData(
                what, where=f"{path}, line {number}", do="give each number a word of its own"
            )
        first[word] = number
    if not words:
        raise BadData("the list holds no words", where=str(path), do="write one word a line")
    return tuple(words)
