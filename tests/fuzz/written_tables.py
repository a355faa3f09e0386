"""Tables as pandas writes them: a frame, the options it was written with, and what a reader must find."""

from __future__ import annotations

import csv
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from likeness.data.missing import nothing

SEPARATORS = (",", ";", "\t", "|", " ", ":")
QUOTING = (csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC, csv.QUOTE_NONE)
ENCODINGS = ("utf-8", "utf-8", "utf-8-sig", "latin-1", "utf-16")
GAPS = ("", "", "NA", "nan", "NULL", "-")
NAMES = (
    "size",
    "größe",
    "naïveté",
    "Preis in EUR",
    "x y",
    "weight (kg)",
    "état",
    "sold",
    "who",
    "note",
)
FAR_NAMES = ("重さ", "имя", "μέγεθος")
WORDS = ("red", "green", "blue", "light blue", "gelb", "grün", "café")
PIECES = ("said", "Anna", "went", "home", "über", "tea", "it's", "one", "two", "Ω", "ok!")
MARKS = ('"', "'", "\n", "\\", "; ", ", ", "|", " | ", ": ", "\t", '""', "#", " - ")


@dataclass(frozen=True)
class Written:
    """A frame, and how `DataFrame.to_csv` is told to write it."""

    frame: pd.DataFrame
    options: dict[str, Any]

    def save(self, path: Path) -> None:
        """Write the file, its line ends as they were asked for."""
        options = dict(self.options)
        try:
            self.frame.to_csv(path, **options)
        except (csv.Error, ValueError):  # a mark that nothing can escape
            self.frame.to_csv(path, **options, escapechar="\\")

    def expected(self) -> dict[str, list[Any]]:
        """The values of every column by its name, None where one is missing; without a default index."""
        frame = self.frame
        if self.options["index"]:
            label = self.options["index_label"] or "Unnamed: 0"
            frame = frame.copy()
            frame.insert(0, label, frame.index)
        return {
            str(name): [None if pd.isna(v) else v for v in frame[name].astype(object)]
            for name in frame
        }


def table(rng: random.Random) -> Written:
    """A random frame, and random options to write it with."""
    encoding = rng.choice(ENCODINGS)
    gap = rng.choice(GAPS)
    rows = rng.randrange(12, 60)
    width = rng.randrange(2, 7)
    names = rng.sample(NAMES if encoding == "latin-1" else (*NAMES, *FAR_NAMES), width)
    columns = {name: _column(rng, rows, gap, encoding) for name in names}
    ends = rng.choice(("\n", "\r\n", "\r"))
    if (
        ends == "\r"
    ):  # pandas leaves other line ends than its own without quotes: no reader could tell them
        columns = {name: column.replace("\n", " ", regex=True) for name, column in columns.items()}
    sep = rng.choice(SEPARATORS)
    options: dict[str, Any] = {
        "sep": sep,
        "quoting": rng.choice(QUOTING),
        "quotechar": rng.choice(('"', '"', '"', "'")),
        "decimal": "," if sep != "," and rng.random() < 0.3 else ".",
        "lineterminator": ends,
        "encoding": encoding,
        "index": rng.random() < 0.4,
        "index_label": rng.choice((None, "row")),
        "na_rep": gap,
    }
    if rng.random() < 0.3:
        options |= {"escapechar": "\\", "doublequote": rng.random() < 0.5}
    return Written(pd.DataFrame(columns), options)


def _column(rng: random.Random, rows: int, gap: str, encoding: str) -> pd.Series[Any]:
    """One column of a kind chosen at random, some with holes."""
    kind = rng.choice(tuple(KINDS))
    values = KINDS[kind](rng, rows)
    if encoding == "latin-1":
        values = [v.replace("Ω", "O") if isinstance(v, str) else v for v in values]
    worded = kind in {"words", "sentences", "codes"}
    if kind != "whole" and (nothing(gap) or not worded) and rng.random() < 0.4:
        values = [None if i and rng.random() < 0.15 else v for i, v in enumerate(values)]
    if kind == "dates":
        return pd.Series(pd.to_datetime(pd.Series(values)))
    if kind == "words" and rng.random() < 0.5:
        return pd.Series(pd.Categorical(values))
    if kind == "numbers":
        return pd.Series(values, dtype="float64")
    return pd.Series(values, dtype=None if kind in {"whole"} else object)


def _numbers(rng: random.Random, rows: int) -> list[Any]:
    digits = rng.choice((1, 2, 4, 15))
    size = rng.choice((1.0, 100.0, 1e6))
    return [round(rng.gauss(0, size), digits) for _ in range(rows)]


def _whole(rng: random.Random, rows: int) -> list[Any]:
    most = rng.choice((3, 90, 5000, 10**9))
    least = rng.choice((0, -most))
    return [rng.randint(least, most) for _ in range(rows)]


def _words(rng: random.Random, rows: int) -> list[Any]:
    some = rng.sample(WORDS, rng.randrange(2, 6))
    return [rng.choice(some) for _ in range(rows)]


def _sentence(rng: random.Random) -> str:
    parts = [rng.choice(PIECES)]
    for _ in range(rng.randrange(5)):
        parts += [rng.choice((" ", " ", rng.choice(MARKS))), rng.choice(PIECES)]
    start = rng.choice(("", "", "", '"', "'"))
    return start + "".join(parts) + rng.choice(("", "", '"', "'", "."))


def _sentences(rng: random.Random, rows: int) -> list[Any]:
    return [_sentence(rng) for _ in range(rows)]


def _flags(rng: random.Random, rows: int) -> list[Any]:
    return [True, False, *(rng.random() < 0.5 for _ in range(rows - 2))]


def _dates(rng: random.Random, rows: int) -> list[Any]:
    step = rng.choice(("D", "h", "min"))
    start = pd.Timestamp("2021-03-04 05:00") if step != "D" else pd.Timestamp("2021-03-04")
    return [start + pd.Timedelta(rng.randrange(1000), step) for _ in range(rows)]


def _codes(rng: random.Random, rows: int) -> list[Any]:
    return ["01067", *(f"{rng.randrange(100_000):05d}" for _ in range(rows - 1))]


KINDS: dict[str, Callable[[random.Random, int], list[Any]]] = {
    "numbers": _numbers,
    "whole": _whole,
    "words": _words,
    "sentences": _sentences,
    "flags": _flags,
    "dates": _dates,
    "codes": _codes,
}
