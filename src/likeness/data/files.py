"""Files of tables: CSV and its kin, gzipped or not, and Parquet, as frames."""

from __future__ import annotations

import csv
import io
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from likeness.core.errors import BadData
from likeness.data.cells import MISSING, is_number
from likeness.data.limits import BYTES_PER_VALUE, bound, check_memory
from likeness.data.textfile import decode
from likeness.data.textfile import lines as lines_of

if TYPE_CHECKING:
    import pandas as pd

PARQUET_VALUE = 8 + BYTES_PER_VALUE  # bytes of memory for each value, or each reference to a text
MOST_PARQUET_ROWS = 65_536  # looked at together
WORDS_FOR_NOTHING = sorted(
    {"NaN", "NaT", *MISSING, *map(str.upper, MISSING), *map(str.title, MISSING)}
)


def read_csv(path: Path, *, verbatim: bool = False) -> pd.DataFrame:
    """A table of text: comma, semicolon, tab or blanks between cells, with or without a line of names.

    The first line is data if one of its cells is a number. With `verbatim` all cells are the text
    that stands there.

    Raises:
        BadData: If the file is empty, is not UTF-8, has two columns of one name or lines of unlike
            length.
    """
    import pandas as pd

    text = decode(path)
    lines = [line for line in lines_of(text)[:20] if line.strip()]
    if not lines:
        raise BadData("the file is empty", where=str(path))
    delimiter = _delimiter(lines)
    head = _split(lines[0], delimiter)
    titled = not any(is_number(c) for c in head)
    if titled and len(set(head)) < len(head):
        twice = next(c for c in head if head.count(c) > 1)
        raise BadData(
            f"two columns are called {twice!r}",
            where=str(path),
            do="give each column a name of its own",
        )
    if titled:
        names = None
    else:
        names = [f"column {i}" for i in range(len(head))]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(
                io.StringIO(text),
                sep=delimiter,
                header=0 if titled else None,
                names=names,
                index_col=False,
                skipinitialspace=True,
                low_memory=False,
                dtype=str if verbatim else None,
                keep_default_na=False,
                na_values=None if verbatim else WORDS_FOR_NOTHING,
            )
    except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
        raise BadData(
            _line_fault(str(error)), where=str(path), do="give every line the same number of cells"
        ) from error
    frame.columns = [str(c).strip() for c in frame.columns]
    if not len(frame):
        raise BadData("the file holds a line of names and no rows", where=str(path))
    return frame


def _delimiter(lines: list[str]) -> str:
    """The mark that splits the first lines into the most cells, alike in each; blanks where all cells are numbers."""
    most = 1
    best = ","
    for mark in (",", ";", "\t"):
        counts = {len(_split(line, mark)) for line in lines}
        if len(counts) == 1 and max(counts) > most:
            most = max(counts)
            best = mark
    blank = all(
        len(line.split()) > 1 and all(is_number(c) for c in line.split())
        for line in lines[1:] or lines
    )
    if most == 1 and blank:
        return r"\s+"
    return best


def _split(line: str, mark: str) -> list[str]:
    if mark == r"\s+":
        return line.split()
    return [c.strip() for c in next(csv.reader([line], delimiter=mark, skipinitialspace=True))]


def numbers_only(path: Path) -> bool:
    """Whether the first lines of a text file are numbers and marks between them."""
    lines = [line for line in lines_of(decode(path))[:20] if line.strip()]
    try:
        mark = _delimiter(lines) if lines else ","
        return bool(lines) and all(is_number(c) for line in lines for c in _split(line, mark))
    except csv.Error:  # a return within a line, or a cell without end
        return False


def _line_fault(said: str) -> str:
    found = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", said)
    if found:
        return f"line {found[2]} has {found[3]} cells where {found[1]} are expected"
    return "lines of unlike length"


def read_parquet(path: Path) -> pd.DataFrame:
    """A Parquet table.

    Raises:
        BadData: If the file is empty or no Parquet file.
    """
    import pandas as pd
    from pyarrow import ArrowException, parquet

    try:
        with parquet.ParquetFile(path) as file:
            check_memory(_parquet_memory(file.metadata, path), path)
        return pd.read_parquet(path)
    except (ArrowException, OSError, ValueError) as error:
        raise BadData(
            "the file is empty, broken or no Parquet file", where=str(path), do="write it again"
        ) from error


def _parquet_memory(metadata: Any, path: Path) -> float:
    """The bytes that a Parquet table takes in reading, as its metadata tell.

    A dictionary holds a text once, however many rows repeat it: where that could matter, the rows
        are looked at.
    """
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    chunks = [group.column(i) for group in groups for i in range(group.num_columns)]
    values = sum(chunk.num_values for chunk in chunks)
    memory = float(values * PARQUET_VALUE + sum(chunk.total_uncompressed_size for chunk in chunks))
    flat = (chunk for chunk in chunks if "." not in chunk.path_in_schema)
    texts = [chunk for chunk in flat if chunk.physical_type == "BYTE_ARRAY"]
    at_most = sum(chunk.num_values * chunk.total_uncompressed_size for chunk in texts)
    if memory > bound() or memory + at_most <= bound():
        return memory
    return memory + _text_memory(path, texts)


def _text_memory(path: Path, chunks: Sequence[Any]) -> float:
    """The bytes of the text in a Parquet table as it stands in memory; no more of it is read than the bound allows."""
    import pyarrow.compute as pc
    from pyarrow import parquet

    names = sorted({chunk.path_in_schema for chunk in chunks})
    longest = max(chunk.total_uncompressed_size for chunk in chunks)
    rows = int(min(MOST_PARQUET_ROWS, max(1, bound() // longest)))
    total = 0.0
    with parquet.ParquetFile(path, read_dictionary=names) as file:
        for batch in file.iter_batches(batch_size=rows, columns=names):
            for column in batch.columns:
                lengths = pc.binary_length(column.dictionary)
                total += pc.sum(lengths.take(column.indices)).as_py() or 0
            if total > bound():
                return total
    return total
