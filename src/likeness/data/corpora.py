"""Documents as ragged sequences of word codes: LDA-C's bags of words, and plain text cut into words.

A word that is none of the vocabulary is the symbol `UNKNOWN`, which stands for all rare words that
were seen and for one that was not (`Nominal.pooled`): its probability is learned from them and
smoothed, and each has its share of it. So a document of unknown words is stranger than one of known
words, and no document loses any.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from likeness.core.batch import Batch
from likeness.core.errors import BadData
from likeness.core.space import UNKNOWN, Nominal, Space
from likeness.data import folders, ldac
from likeness.data.sequences import empty_items, sequences
from likeness.data.source import Loud, Reading, Table
from likeness.data.tables import unknown_label
from likeness.data.textfile import decode, lines

WORDS = "words"  # what a Space's `source` says of documents that were cut into words
KINDS = ("text", "texts", "bags")  # of paths
SHOWN = 6
SOFT_HYPHEN = "\u00ad"  # where a word may be broken at the end of a line: no part of it
ORDER = (
    "documents are bags: their words stand in the order of their numbers, not as they were written"
)

Array = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Documents:
    """Documents of a file as a model of words reads them.

    Args:
        batch: The documents.
        unknown: How many words of each were never learned, int64 (B,).
        notes: What users should hear.
    """

    batch: Batch
    unknown: torch.Tensor
    notes: tuple[str, ...]


# ---- texts ---------------------------------------------------------------------------------------


def read(documents: Sequence[str], least: int, *, name: str) -> Reading:
    """Texts as sequences of their words in lower case; the commonest has code 0, the last code is that of rare words.

    Raises:
        BadData: If no word is seen so often.
    """
    # 1. Documents as lists of words.
    cut = [words_of(text) for text in documents]
    # 2. The vocabulary: words seen often enough, the commonest first, ties by letter.
    frequency = Counter(word for words in cut for word in words)
    common = sorted(
        (w for w in frequency if frequency[w] >= least), key=lambda w: (-frequency[w], w)
    )
    if not common:
        raise BadData(f"no word is seen {least} times", do="give more text, or a smaller words=")
    # 3. Everything rarer shares the last code.
    labels = (*common, UNKNOWN)
    rare = len(frequency) - len(common)
    tokens = sum(frequency.values()) - sum(frequency[w] for w in common)
    notes = tuple[str, ...]()
    if rare:
        notes = (
            f"{rare:,} words seen less than {least} times count as {UNKNOWN}, as unknown ones will:"
            f" {tokens / frequency.total():.1%} of all words",
        )
    # 4. Codes of all words in one array, with the length of each document.
    codes = _codes(cut, _in_text(labels), len(common))
    return _reading(codes, _sizes(cut), labels, rare + 1, notes, name)


def words_of(text: str) -> list[str]:
    """The words of a text in lower case: runs of letters and their marks, with apostrophes between them."""
    # Composed accents, so that one word has one spelling.
    plain = unicodedata.normalize("NFC", text.lower().replace(SOFT_HYPHEN, ""))
    return _word().findall(plain)


@cache
def _word() -> re.Pattern[str]:
    """Letters, each with the marks that stand on it, which many scripts write their vowels with."""
    # Combining marks of the basic plane; letters of scripts such as Devanagari need them.
    codes = range(0x300, 0x10000)
    marks = "".join(chr(code) for code in codes if unicodedata.category(chr(code))[0] == "M")
    letters = rf"[^\W\d_](?:[^\W\d_]|[{re.escape(marks)}])*"
    return re.compile(rf"{letters}(?:['\u2019]{letters})*")


def texts(path: Path) -> list[str]:
    """The lines of a text, or the texts below a folder in the order of their names."""
    if path.is_dir():
        return [decode(p) for p in folders.files(path, {".txt"})]
    return lines(decode(path))


def encode(space: Space, items: Sequence[str]) -> Batch:
    """Texts as a Batch of a Space of words; words that were not learned are unknown, as rare ones were."""
    return _of_texts(space, items).batch


# ---- bags ----------------------------------------------------------------------------------------


def read_bags(path: Path, *, name: str, vocabulary: Path | None = None) -> Reading:
    """A corpus in LDA-C's format, words by their names where a list of them is given or lies beside the file.

    Without a list words are called by their numbers, those that occur.

    Raises:
        BadData: Naming the file and line at fault.
    """
    # Term numbers and counts, document by document.
    counts = ldac.parse(path)
    if not len(counts.term):
        do = "give lines such as '2 0:1 5:3'"
        raise BadData("the file holds no words", where=str(path), do=do)
    # Without a vocabulary, the numbers that occur are the words.
    listed = ldac.listed(path, vocabulary)
    if listed is None:
        numbers, codes = np.unique(counts.term, return_inverse=True)
        names = tuple(map(str, numbers.tolist()))
        beside = ldac.BESIDE[0].format(stem=path.stem)
        notes: tuple[str, ...] = (
            ORDER,
            f"no list of words such as {beside} lies beside it: words are numbers",
        )
    else:
        # With one, numbers are places in it.
        names, codes = ldac.read_list(listed), counts.term
        notes = (ORDER,)
        _refuse_unlisted(counts, len(names), listed, path)
    # Each word as often as it is counted: (sum of counts,).
    words = counts.words(codes)
    if UNKNOWN in names:
        return _reading(words, counts.length, names, None, notes, name)
    return _reading(words, counts.length, (*names, UNKNOWN), 1, notes, name)


def _refuse_unlisted(counts: ldac.Counts, words: int, listed: Path, path: Path) -> None:
    over = np.flatnonzero(counts.term >= words)
    if len(over):
        raise BadData(
            f"word {counts.term[over[0]]} where {listed.name} lists words 0 to {words - 1}",
            where=f"{path}, line {counts.document[over[0]] + 1}",
            do="give the list of words that belongs to the file",
        )


def bags(path: Path) -> list[Array]:
    """The numbers of each document's words in a file of LDA-C's format, each as often as it is counted.

    Raises:
        BadData: Naming the file and line at fault.
    """
    counts = ldac.parse(path)
    return np.split(counts.words(counts.term), counts.length.cumsum()[:-1])


# ---- for a model that is there -------------------------------------------------------------------


def of_file(space: Space, path: Path, *, bagged: bool) -> Documents:
    """Documents of a file or a folder as a Batch of a Space of words, and what of them is unknown.

    Numbers of words in LDA-C's format are those of the list that lies beside the file, else the
    model's own.

    Raises:
        BadData: If the file holds no documents, or is text where words were learned as numbers.
    """
    if bagged:
        return _of_bags(space, path)
    if _numbered(_labels(space)):
        do = "give a file in LDA-C's format"
        raise BadData("text where words were learned as numbers", where=str(path), do=do)
    return _of_texts(space, texts(path))


def _of_texts(space: Space, items: Sequence[str]) -> Documents:
    labels = _labels(space)
    place = _in_text(labels)
    cut = [words_of(text) for text in items]
    # Unknown words share one code; each is counted for the note.
    odd = Counter(word for words in cut for word in words if word not in place)
    documents = _documents(space, _codes(cut, place, _unknown(labels, odd)), _sizes(cut), odd)
    # Words that cutting can never produce: the vocabulary was made by other rules.
    never = [w for w in labels if w != UNKNOWN and not _word().fullmatch(w.lower())]
    if not never:
        return documents
    note = f"{len(never):,} words of the model, such as {never[0]!r}, are never found in text"
    return replace(documents, notes=(*documents.notes, Loud(note)))


def _of_bags(space: Space, path: Path) -> Documents:
    counts = ldac.parse(path)
    labels = _labels(space)
    listed = None if _numbered(labels) else ldac.listed(path, None)
    # Each distinct term once; its name leads to its code.
    terms, which = np.unique(counts.term, return_inverse=True)
    names = _names(labels, listed, terms.tolist())
    place = {word: code for code, word in enumerate(labels)}
    # How often each term occurs in all documents together.
    often = np.zeros(len(terms), dtype=np.int64)
    np.add.at(often, which, counts.count)
    named = zip(names, often.tolist(), strict=True)
    odd = Counter({name: count for name, count in named if name not in place})
    unknown = _unknown(labels, odd)
    codes = np.array([place.get(name, unknown) for name in names], dtype=np.int64)[which]
    return _documents(space, counts.words(codes), counts.length, odd)


def _names(labels: Sequence[str], listed: Path | None, terms: Sequence[int]) -> list[str]:
    """What numbers of words are called: by themselves, by a list, or by the labels of the model."""
    if _numbered(labels):
        return list(map(str, terms))
    words = labels if listed is None else ldac.read_list(listed)
    return [words[term] if term < len(words) else str(term) for term in terms]


def _documents(space: Space, codes: Array, length: Array, odd: Counter[str]) -> Documents:
    batch = sequences(codes, length, space.longest or 0)
    labels = _labels(space)
    if UNKNOWN not in labels:
        return Documents(batch, torch.zeros_like(batch.ids), ())
    # Unknown words of each document within its length, (B,).
    inside = torch.arange(batch.x.shape[1]) < torch.from_numpy(length)[:, None]
    unknown = ((batch.x == labels.index(UNKNOWN)) & inside).sum(-1)
    bare = int((torch.from_numpy(length) == unknown).sum())
    return Documents(batch, unknown, _said(odd, len(codes), bare, len(batch)))


def _said(odd: Counter[str], words: int, bare: int, documents: int) -> tuple[str, ...]:
    """What users should hear of words that were never learned."""
    if not odd:
        return ()
    shown = ", ".join(word for word, _ in odd.most_common(SHOWN))
    if len(odd) > SHOWN:
        shown += ", ..."
    note = f"never learned, so {UNKNOWN}, {odd.total():,} of {words:,} words: {shown}"
    if bare:
        return (note, f"documents without a word that was learned: {bare:,} of {documents:,}")
    return (note,)


# ---- codes ---------------------------------------------------------------------------------------


def _labels(space: Space) -> tuple[str, ...]:
    variable = space.variables[0]
    assert variable.type == "nominal"
    return variable.labels or ()


def _numbered(labels: Sequence[str]) -> bool:
    """Whether words are called by their numbers."""
    return all(ldac.NUMBER.fullmatch(label) for label in labels if label != UNKNOWN)


def _in_text(labels: Sequence[str]) -> dict[str, int]:
    """The code of each word by its name in lower case, as text is cut; a word that is written so comes first."""
    # Two spellings that differ in case: the one learned in lower case wins.
    place = {label.lower(): code for code, label in enumerate(labels)}
    return place | {label: code for code, label in enumerate(labels)}


def _unknown(labels: Sequence[str], odd: Counter[str]) -> int:
    """The code of words that were never learned.

    Raises:
        BadData: If there are such words, and the model has no symbol for them.
    """
    if UNKNOWN in labels:
        return labels.index(UNKNOWN)
    for word in odd:
        raise unknown_label(word, tuple(labels), "")
    return -1


def _codes(cut: Sequence[Sequence[str]], place: Mapping[str, int], unknown: int) -> Array:
    """The code of each word, one document after the other."""
    words = itertools.chain.from_iterable(cut)
    return np.fromiter((place.get(word, unknown) for word in words), dtype=np.int64)


def _sizes(cut: Sequence[Sequence[str]]) -> Array:
    return np.fromiter(map(len, cut), dtype=np.int64, count=len(cut))


def _reading(
    codes: Array,
    length: Array,
    labels: tuple[str, ...],
    pooled: int | None,
    notes: tuple[str, ...],
    name: str,
) -> Reading:
    space = Space(
        axes=("time",),
        shape=(None,),
        variables=(Nominal(categories=len(labels), labels=labels, pooled=pooled),),
        longest=int(length.max()),
        source=WORDS,
    )
    table = Table(space, sequences(codes, length, 0), name=name)
    return Reading({"all": table}, (*notes, *empty_items(length)))
