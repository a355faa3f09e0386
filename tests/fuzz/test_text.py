"""Files of text, documents, bags of words, tagged sentences and series: any bytes are read or refused."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from likeness.api import load
from likeness.core.errors import BadData
from likeness.data import conll, corpora, tsfile
from likeness.data.conllfile import parse
from likeness.data.textfile import decode, lines_with_ends
from tests.fuzz import inputs
from tests.fuzz.harness import fuzz, runs

ENDS = ("\n", "\n", "\r\n", "\r", "\n\n", "\f", "\u2028", "\x85", "")
BLANKS = (" ", " ", "\t", "  ", "\u00a0", "")
ENCODINGS = ("utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1")
WORDS = (
    "cat",
    "dog",
    "The",
    "don't",
    "été",
    "#",
    "1",
    "2",
    "3.1",
    "1-2",
    "_",
    "?",
    "O",
    "B-X",
    "10",
)
NUMBERS = ("0", "1", "2", "7", "50000000", "1000000000", "-1", "1.5", "9" * 18, "9" * 30, "\u0663")
HEADS = ("@data", "@classLabel true a b", "@dimensions 2", "@univariate true", "@equalLength true")
ODD_HEADS = (
    "@timeStamps true",
    "@seriesLength 2",
    "@classLabel true",
    "@",
    "@data x",
    "# x",
    "@missing",
)
VALUES = ("1", "2.5", "-1e3", "?", "NaN", "inf", "1_0", "", " 3 ", "0x1", "1e999")

Make = Callable[[random.Random], bytes]


def some(rng: random.Random, parts: tuple[str, ...], most: int) -> list[str]:
    """A few of the parts, and now and then a text that is none of them."""
    return [
        inputs.text(rng) if rng.random() < 0.05 else rng.choice(parts)
        for _ in range(rng.randrange(most))
    ]


def encoded(rng: random.Random, rows: list[str]) -> bytes:
    """Lines as bytes, in one of several encodings, some of them broken."""
    end = rng.choice(ENDS)
    text = "".join(row + (rng.choice(ENDS) if rng.random() < 0.1 else end) for row in rows)
    raw = text.encode(rng.choice(ENCODINGS), "replace")
    return inputs.mangled(rng, raw) if rng.random() < 0.3 else raw


def prose(rng: random.Random) -> bytes:
    """Lines of words."""
    return encoded(
        rng, [rng.choice(BLANKS).join(some(rng, WORDS, 8)) for _ in range(rng.randrange(12))]
    )


def columns(rng: random.Random) -> bytes:
    """Words with their columns, numbers before them, comments between them."""
    mark, width = rng.choice(BLANKS), rng.randrange(1, 5)
    if rng.random() < 0.2:
        mark, width = "\t", 10
    numbered = rng.random() < 0.4
    rows, step = list[str](), 0
    for _ in range(rng.randrange(30)):
        kind = rng.random()
        if kind < 0.2:
            rows, step = [*rows, rng.choice(("", "", " ", "# text = x", "#", "-DOCSTART- x"))], 0
            continue
        step += 1
        size = width if kind < 0.97 else rng.randrange(12)
        fields = [rng.choice(WORDS) for _ in range(size)] or [inputs.text(rng)]
        rows.append(mark.join([str(step), *fields[1:]] if numbered else fields))
    return encoded(rng, rows)


def bags(rng: random.Random) -> bytes:
    """Lines of counts, most of them well announced."""
    rows = list[str]()
    for _ in range(rng.randrange(6)):
        odd = NUMBERS if rng.random() < 0.2 else NUMBERS[:5]
        pairs = [f"{rng.choice(odd)}:{rng.choice(odd[1:4])}" for _ in range(rng.randrange(4))]
        head = len(pairs) if rng.random() < 0.9 else rng.choice(NUMBERS)
        rows.append(" ".join([str(head), *pairs, *some(rng, WORDS, 2)[:1] * (rng.random() < 0.1)]))
    return encoded(rng, rows)


def vocabulary(rng: random.Random) -> bytes:
    return encoded(rng, [*map(str, range(rng.randrange(10))), *some(rng, WORDS, 4)])


def series(rng: random.Random) -> bytes:
    """A head, and lines of values."""
    width, steps = rng.randrange(1, 3), rng.randrange(1, 4)
    rows = [line for line in HEADS[1:] if rng.random() < 0.4]
    rows += [rng.choice(ODD_HEADS)] * (rng.random() < 0.2) + ["@data"] * (rng.random() < 0.95)
    values = VALUES if rng.random() < 0.2 else VALUES[:5]
    for _ in range(rng.randrange(6)):
        size = steps if rng.random() < 0.9 else rng.randrange(4)
        each = [",".join(rng.choice(values) for _ in range(size)) for _ in range(width)]
        rows.append(":".join([*each, rng.choice(("a", "b", "?", "c"))][: width + rng.randrange(2)]))
    return encoded(rng, rows)


def anything(rng: random.Random) -> bytes:
    return rng.randbytes(rng.randrange(200))


def mixed(make: Make) -> Make:
    """Mostly what a reader wants, now and then any bytes."""
    return lambda rng: anything(rng) if rng.random() < 0.05 else make(rng)


# ---- actions: each checks what must hold where a file is read ----------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str, bytes], Path]:
    def write(name: str, raw: bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(raw)
        return path

    return write


@runs()
def test_each_line_of_any_text_is_an_item(n, file):
    def read(raw: bytes) -> None:
        path = file("some.txt", raw)
        data = load(path, test=0.0)
        if data.space.source == "text":
            assert len(data.train) == len(lines_with_ends(decode(path)))

    fuzz(read, mixed(prose), n)


@runs()
def test_each_line_of_any_text_is_a_document(n, file):
    space = load(["the cat", "a dog doesn't"] * 3, words=1, test=0.0).space

    def read(raw: bytes) -> None:
        path = file("some.txt", raw)
        found = corpora.of_file(space, path, bagged=False)
        assert len(found.batch) == len(lines_with_ends(decode(path)))
        assert bool((found.unknown <= found.batch.length).all())
        load(path, words=1, test=0.0)

    fuzz(read, mixed(prose), n)


@runs()
def test_any_file_of_columns_is_sentences_and_comes_back(n, file):
    known = load(file("known.conll", b"the D\ncat N\n# O\n1 O\n"), test=0.0)

    def read(raw: bytes) -> None:
        path = file("some.conll", raw)
        found = parse(path)
        words = sum(map(len, found.words))
        assert found.tagged([()] * words, 10**6) == decode(path)
        for again in (
            lambda: load(path, test=0.0),
            lambda: conll.of_file(known.space, known.given_space, path),
        ):
            refused(again)

    fuzz(read, mixed(columns), n)


@runs()
def test_any_bags_are_documents(n, file):
    space = load(file("known.ldac", b"2 0:1 7:2\n1 1:1\n"), test=0.0).space

    def read(raws: tuple[bytes, bytes, bool]) -> None:
        path = file("some.ldac", raws[0])
        beside = file("some.vocab", raws[1])
        if raws[2]:
            beside.unlink()
        refused(lambda: corpora.of_file(space, path, bagged=True))
        data = load(path, test=0.0)
        assert len(data.train) == len(lines_with_ends(decode(path)))

    fuzz(read, lambda rng: (mixed(bags)(rng), vocabulary(rng), rng.random() < 0.5), n)


@runs()
def test_any_file_of_series_is_read_or_refused(n, file):
    known = load(file("known.ts", b"@classLabel true a b\n@data\n1,2:a\n3:b\n"), given="label")

    def read(raw: bytes) -> None:
        path = file("some.ts", raw)
        refused(lambda: tsfile.of_file(known.space, known.given_space, path))
        load(path, test=0.0)

    fuzz(read, mixed(series), n)


def refused(action: Callable[[], object]) -> None:
    """Let a refusal pass, so that what follows is tried too."""
    try:
        action()
    except BadData as error:
        assert "\n" not in str(error)
