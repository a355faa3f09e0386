"""Files of tagged sentences: which lines are words, which are comments, and what their columns are.

CoNLL's shared tasks write a word a line, its columns parted by blanks or tabs, the label last, and
an empty line between sentences; a line -DOCSTART- begins a document. CoNLL-U numbers the words in
the first of ten columns, where 1-2 is what two words are written as, and 1.1 a word that is not
written; its comments are lines before a sentence that begin with #. So may words.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice, takewhile
from pathlib import Path

from likeness.core.errors import BadData
from likeness.data.source import Loud
from likeness.data.textfile import decode, lines_with_ends

Columns = tuple[str, ...]
Sentence = list[Columns]

UNTOLD = ("_", "?", "")  # in place of a label that is not known, unless it was learned as one
DOCUMENT = "-DOCSTART-"
COMMENT = "#"
MAX_STEPS = 1000  # a longer sentence is a file without empty lines
MAX_COLUMNS = 1000
QUOTED = 40  # characters of a line
UNIVERSAL = 10  # columns of CoNLL-U
FORM = 1  # its column of the word
UPOS = 3  # its column of the part of speech
NUMBER = re.compile(r"[1-9][0-9]*")
UNWRITTEN = re.compile(r"[0-9]+[-.][0-9]+")
FIELD = re.compile(r"[^ \t]+")


@dataclass(frozen=True)
class Word:
    """A line that holds a word.

    Args:
        line: Its place in the file, from 0.
        fields: Its columns.
    """

    line: int
    fields: Columns

    @property
    def begins_as_comment(self) -> bool:
        """Whether it may be a comment."""
        return self.fields[0].startswith(COMMENT)


@dataclass(frozen=True)
class Form:
    """How lines are read.

    Args:
        tabs: Whether tabs alone part columns, else tabs and blanks.
        first: The column of the word.
        end: The column behind the last one that is read.
        label: The column of the label where it is not the last one.
    """

    tabs: bool
    first: int = 0
    end: int | None = None
    label: int | None = None

    def split(self, line: str) -> Columns:
        """All columns of a line, at most one more than is allowed."""
        if self.tabs:
            return tuple(field.strip(" ") for field in line.split("\t", MAX_COLUMNS))
        # Short lines are split whole; long ones only as far as the limit, which refuses them.
        if len(line) < 2 * MAX_COLUMNS:  # it cannot hold more
            return tuple(FIELD.findall(line))
        return tuple(found.group() for found in islice(FIELD.finditer(line), MAX_COLUMNS + 1))

    def read(self, fields: Columns) -> Columns:
        """The columns that a model sees: the word, its features and, last, its label."""
        if self.label is not None:
            return (fields[self.first], fields[self.label])
        return fields[self.first : self.end]

    def kept(self, line: str, columns: int) -> str:
        """A line without the columns behind so many that a model sees."""
        if self.label is not None:
            return line
        count = self.first + columns
        if self.tabs:
            return "\t".join(line.split("\t")[:count])
        return line[: [found.end() for found in islice(FIELD.finditer(line), count)][-1]]

    def with_tags(self, line: str, tags: Sequence[str], columns: int) -> str:
        """A line with tags behind its first columns; CoNLL-U has a place for the first of them."""
        # CoNLL-U: the tag goes into its own column, more tags behind the line.
        if self.label is not None and columns == 1:
            fields = line.split("\t")
            return "\t".join([*fields[: self.label], tags[0], *fields[self.label + 1 :], *tags[1:]])
        mark = "\t" if "\t" in line else " "
        return mark.join([self.kept(line, columns), *tags])


@dataclass(frozen=True, eq=False)
class TaggedFile:
    """A file of sentences.

    Args:
        lines: All lines, each with what ends it.
        words: The words of each sentence.
        form: How lines are read.
        notes: What users should hear of how they were read.
    """

    lines: list[tuple[str, str]]
    words: list[list[Word]]
    form: Form
    notes: tuple[str, ...] = ()

    @property
    def sentences(self) -> list[Sentence]:
        """The columns of each word of each sentence, as a model sees them."""
        return [[self.form.read(word.fields) for word in words] for words in self.words]

    def tagged(self, tags: Iterable[Sequence[str]], columns: int) -> str:
        """The text of the file with more columns behind those that it has, all else as it stands.

        Args:
            tags: What goes behind the line of each word, in order.
            columns: How many columns that a model sees stay: a label behind them gives way.
        """
        written = [line for line, _ in self.lines]
        words = (word for sentence in self.words for word in sentence)
        for word, added in zip(words, tags, strict=True):
            written[word.line] = self.form.with_tags(written[word.line], added, columns)
        return "".join(line + end for line, (_, end) in zip(written, self.lines, strict=True))


def parse(path: Path, columns: int | None = None, labels: Collection[str] = ()) -> TaggedFile:
    """The sentences of a file.

    Args:
        path: The file.
        columns: How many columns before the label a model knows; None where it is yet to learn.
        labels: The labels that it knows.

    Raises:
        BadData: Naming the line that has other columns than the first, or a sentence without end.
    """
    # Tabs, if the first word's line has one, else any blanks.
    lines = lines_with_ends(decode(path))
    form = Form(tabs="\t" in _first_word(lines))
    # 1. Blocks of lines between blank lines.
    blocks = list(_blocks(lines, form))
    if not blocks:
        do = "give lines of a word, its features and its label"
        raise BadData("there are no sentences", where=str(path), do=do)
    # 2. The number of columns, and which leading # lines are comments.
    width = _width(blocks)
    words, comments = _without_comments(blocks, width, labels)
    _check(words, width, path)
    # 3. Columns that hold no features: word numbers, and an empty last one.
    tagged = TaggedFile(lines, words, form, _comments_said(comments, width, lines))
    if _numbered(words, width, columns, labels):
        tagged = _unnumbered(tagged, width)
    return _without_empty_column(tagged, width, columns)


# ---- lines ---------------------------------------------------------------------------------------


def _first_word(lines: Iterable[tuple[str, str]]) -> str:
    """The first line that is no comment, else the first that is not blank."""
    candidates = [line for line, _ in lines if line.strip() and not line.startswith(DOCUMENT)]
    return next(
        (line for line in candidates if not line.startswith(COMMENT)), (candidates or [""])[0]
    )


def _blocks(lines: Sequence[tuple[str, str]], form: Form) -> Iterator[list[Word]]:
    """Lines that stand together: a sentence, with the comments before it."""
    block = list[Word]()
    for number, (line, _) in enumerate(lines):
        fields = form.split(line) if line.strip() else ()
        if any(fields) and fields[0] != DOCUMENT:
            block.append(Word(number, fields))
        elif block:
            yield block
            block = []
    if block:
        yield block


def _leading(block: Sequence[Word]) -> list[Word]:
    """The lines before a sentence that may be comments."""
    return list(takewhile(lambda word: word.begins_as_comment, block))


def _width(blocks: Sequence[Sequence[Word]]) -> int:
    """The columns of the first line that is surely no comment, else of the first one."""
    # The first line past a block's leading # lines is a word for certain.
    for block in blocks:
        words = block[len(_leading(block)) :]
        if words:
            return len(words[0].fields)
    return len(blocks[0][0].fields)


def _without_comments(
    blocks: Sequence[list[Word]], width: int, labels: Collection[str]
) -> tuple[list[list[Word]], list[Word]]:
    """The words of each sentence, and the comments.

    A line that may be a comment is a word if it has as many columns as the others and ends with
    what another line ends with, a label; in files of one column, if it has one.
    """
    leading = [_leading(block) for block in blocks]
    # Words for certain, and the labels they end with.
    sure = [block[len(lines) :] for block, lines in zip(blocks, leading, strict=True)]
    ends = {word.fields[-1] for words in sure for word in words} | {COMMENT, *labels}
    sentences = list[list[Word]]()
    comments = list[Word]()
    # Leading # lines are comments up to the first that has a word's columns and a known label.
    for block, lines in zip(blocks, leading, strict=True):
        spoken = list(takewhile(lambda line: not _is_word(line.fields, width, ends), lines))
        comments += spoken
        if len(spoken) < len(block):
            sentences.append(block[len(spoken) :])
    return sentences, comments


def _is_word(fields: Columns, width: int, ends: Collection[str]) -> bool:
    return len(fields) == width and (width == 1 or fields[-1] in ends)


def _comments_said(
    comments: Sequence[Word], width: int, lines: Sequence[tuple[str, str]]
) -> tuple[str, ...]:
    """A note on comments; loud where one has as many columns as a word."""
    if not comments:
        return ()
    doubtful = [word for word in comments if len(word.fields) == width]
    shown = (doubtful or comments)[0].line
    said = (
        f"lines that begin with # are comments: {len(comments):,} of them,"
        f" such as {lines[shown][0][:QUOTED]!r} in line {shown + 1}"
    )
    return (Loud(said) if doubtful else said,)


def _check(sentences: Sequence[Sequence[Word]], width: int, path: Path) -> None:
    """Refuse files without words, and lines with other columns than the first one's."""
    if not sentences:
        do = "give lines of a word, its features and its label"
        raise BadData("there are comments, and no sentences", where=str(path), do=do)
    if width > MAX_COLUMNS:
        what = f"over {MAX_COLUMNS:,} columns"
        raise BadData(what, where=_place(path, sentences[0][0]), do="write one word a line")
    # Every word has as many columns, and no sentence is endless.
    for words in sentences:
        for word in words:
            if len(word.fields) != width:
                what = f"{len(word.fields)} columns where there should be {width} as in the first"
                do = "mend the line"
                if word.begins_as_comment:
                    do = "mend the line, or put the comment before its sentence"
                raise BadData(what, where=_place(path, word), do=do)
        if len(words) > MAX_STEPS:
            what = f"a sentence of over {MAX_STEPS:,} words"
            raise BadData(what, where=_place(path, words[MAX_STEPS]), do="put empty lines between")


def _place(path: Path, word: Word) -> str:
    return f"{path}, line {word.line + 1}"


# ---- columns -------------------------------------------------------------------------------------


def _numbered(
    sentences: Sequence[Sequence[Word]], width: int, columns: int | None, labels: Collection[str]
) -> bool:
    """Whether the first column counts the words of each sentence, and is no word itself."""
    # One column, or one word a sentence, cannot be told from numbering.
    if width < 2 or max(map(len, sentences)) < 2:
        return False
    if not all(map(_counts_up, sentences)):
        return False
    # A model's own number of columns settles it, when it differs.
    if columns is None or width == UNIVERSAL:
        return True
    if width != columns + 1:
        return width > columns
    # Otherwise the last column tells: known labels there leave no room for a number in front.
    known = {*labels, *UNTOLD}
    return any(word.fields[-1] not in known for words in sentences for word in words)


def _counts_up(words: Sequence[Word]) -> bool:
    # CoNLL-U numbers 3-4 and 8.1 are ranges and empty nodes, not words.
    first = [word.fields[0] for word in words]
    numbers = [field for field in first if not UNWRITTEN.fullmatch(field)]
    return bool(numbers) and numbers == [str(i) for i in range(1, len(numbers) + 1)]


def _unnumbered(found: TaggedFile, width: int) -> TaggedFile:
    """The words without their numbers, and without those that are not written."""
    words = [[w for w in each if NUMBER.fullmatch(w.fields[0])] for each in found.words]
    if width != UNIVERSAL:
        said = "the first column counts the words: it is passed over"
        form = replace(found.form, first=1)
    else:
        said = f"CoNLL-U: words are column {FORM + 1}, labels are column {UPOS + 1} (UPOS)"
        form = replace(found.form, first=FORM, label=UPOS)
    return replace(found, words=words, form=form, notes=(*found.notes, Loud(said)))


def _without_empty_column(found: TaggedFile, width: int, columns: int | None) -> TaggedFile:
    """The file without a last column that is empty on every line: a tab ends each of them."""
    if found.form.label is not None or width < found.form.first + 2:
        return found
    # With as many columns as the model knows, the last is the label, though empty.
    if columns is not None and width <= found.form.first + columns + 1:
        return found  # the label's own column
    if any(word.fields[-1] for words in found.words for word in words):
        return found
    return replace(found, form=replace(found.form, end=width - 1))
