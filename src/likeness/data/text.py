"""Text as ragged sequences of symbols: each line, or each piece of so many characters, is an item."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from likeness.core.batch import Batch
from likeness.core.errors import BadData
from likeness.core.space import Nominal, Space
from likeness.data.corpora import WORDS
from likeness.data.sequences import empty_items, position, sequences
from likeness.data.source import Loud, Reading, Table
from likeness.data.tables import unknown_label
from likeness.data.textfile import lines

SYMBOLS_MOST = 4096
UNKNOWN = -1  # in place of the code of a symbol that was never learned
FEW = 20  # lines: fewer of one width may be so by chance


def read(items: Sequence[str], *, name: str) -> Reading:
    """Strings as items, their characters as symbols; an empty one is an item of length 0.

    Raises:
        BadData: If there are no characters, or more than 4,096 kinds of them.
    """
    symbols = tuple(sorted(set().union(*items)))
    if not symbols:
        raise BadData("the text is empty", do="give lines with characters")
    if len(symbols) > SYMBOLS_MOST:
        raise BadData(
            f"{len(symbols)} kinds of characters are too many", do="write the text in fewer symbols"
        )
    space = Space(
        axes=("time",),
        shape=(None,),
        variables=(Nominal(categories=len(symbols), labels=symbols),),
        longest=max(map(len, items)),
        source="text",
    )
    notes = empty_items(np.fromiter(map(len, items), dtype=np.int64))
    table = Table(space, encode(space, items), name=name)
    return Reading({"all": table}, (*notes, *_columns(items)))


def _columns(items: Sequence[str]) -> tuple[str, ...]:
    """A note where lines are columns of as many words each, with empty lines between: sentences with their labels."""
    counts = [len(item.split()) for item in items if item.strip()]
    widths = set(counts)
    if len(counts) < FEW or len(counts) == len(items) or len(widths) != 1 or max(widths) < 2:
        return ()
    said = f"each line holds {max(widths)} words, with empty lines between: labelled words are read from a .conll"
    return (Loud(said),)


def encode(space: Space, items: Sequence[str]) -> Batch:
    """Strings as a Batch of a text Space.

    Raises:
        BadData: If a symbol was never learned.
    """
    variable = space.variables[0]
    assert variable.type == "nominal"
    symbols = variable.labels or ()
    place = {symbol: i for i, symbol in enumerate(symbols)}
    codes = np.fromiter((place.get(c, UNKNOWN) for c in "".join(items)), dtype=np.int64)
    length = np.fromiter(map(len, items), dtype=np.int64, count=len(items))
    if (codes < 0).any():
        row, at = position(length, int(np.argmax(codes < 0)))
        raise unknown_label(items[row][at], symbols, f"row {row}, character {at}")
    return sequences(codes, length, space.longest or 0)


def decode(space: Space, batch: Batch) -> list[str]:
    """The items of a text Space as strings, words with blanks between; a hidden symbol is a question mark in a box."""
    variable = space.variables[0]
    assert variable.type == "nominal"
    symbols = variable.labels or tuple(f"<{k}>" for k in range(variable.categories))
    between = " " if space.source == WORDS else ""
    if batch.length is not None:
        lengths = batch.length
    else:
        lengths = torch.full((len(batch),), batch.x.shape[1])
    return [
        between.join(
            symbols[int(c)] if known else "\ufffd" for c, known in zip(x[:n], seen[:n], strict=True)
        )
        for x, seen, n in zip(
            batch.x.tolist(), batch.present.tolist(), lengths.tolist(), strict=True
        )
    ]


def pieces(text: str, width: int | None) -> list[str]:
    """The lines of a text, or its pieces of `width` characters (the last, shorter one is dropped)."""
    if width is None:
        return lines(text)
    return [text[i : i + width] for i in range(0, len(text) - width + 1, width)]


def write(space: Space, batch: Batch, path: Path) -> None:
    """One item a line."""
    path.write_text("".join(f"{item}\n" for item in decode(space, batch)), encoding="utf-8")
