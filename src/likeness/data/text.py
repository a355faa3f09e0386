"""Text as ragged sequences of symbols: each line, or each piece of so many characters, is an item."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from likeness.core.batch import Batch
from likeness.core.errors import BadData
from likeness.core.space import Nominal, Space
from likeness.data.corpora import WORDS
from likeness.data.limits import array_memory, check_memory
from likeness.data.source import Loud, Reading, Table
from likeness.data.tables import unknown_label
from likeness.data.textfile import lines

SYMBOLS_MOST = 4096
FEW = 20  # lines: fewer of one width may be so by chance


def read(items: Sequence[str], *, name: str) -> Reading:
    """Strings as items, their characters as symbols.

    Raises:
        BadData: If there are no characters, or more than 4,096 kinds of them.
    """
    kept = [item for item in items if item]
    symbols = tuple(sorted(set().union(*kept))) if kept else ()
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
        longest=max(map(len, kept)),
        source="text",
    )
    passed = len(items) - len(kept)
    notes = (*((f"{passed} empty lines were passed over",) if passed else ()), *_columns(items))
    return Reading({"all": Table(space, encode(space, kept), name=name)}, notes)


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
    longest = max([space.longest or 0, *map(len, items)])
    check_memory(array_memory(len(items) * longest, 4))
    x = torch.zeros((len(items), longest), dtype=torch.float32)
    for row, item in enumerate(items):
        odd = next((c for c in item if c not in place), None)
        if odd is not None:
            raise unknown_label(odd, symbols, f"row {row}, character {item.index(odd)}")
        x[row, : len(item)] = torch.tensor([place[c] for c in item], dtype=torch.float32)
    return Batch(x, length=torch.tensor([len(item) for item in items], dtype=torch.int64))


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


def files(folder: Path) -> list[Path]:
    """The texts below a folder, in the order of their names."""
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() == ".txt")


def pieces(text: str, width: int | None) -> list[str]:
    """The lines of a text, or its pieces of `width` characters (the last, shorter one is dropped)."""
    if width is None:
        return lines(text)
    return [text[i : i + width] for i in range(0, len(text) - width + 1, width)]


def write(space: Space, batch: Batch, path: Path) -> None:
    """One item a line."""
    path.write_text("".join(f"{item}\n" for item in decode(space, batch)), encoding="utf-8")
