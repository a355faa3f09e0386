"""Files of tables: CSV and its kin, gzipped or not, and Parquet, as frames."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from likeness.core.errors import BadData
from likeness.data import delimited
from likeness.data.limits import BYTES_PER_VALUE, bound, check_memory
from likeness.data.textfile import decode

if TYPE_CHECKING:
    import pandas as pd

PARQUET_VALUE = 8 + BYTES_PER_VALUE  # bytes of memory for each value, or each reference to a text
RECODE = (
    "save the file as UTF-8, or give the frame that pandas.read_csv(path, encoding='latin-1') reads"
)
MOST_PARQUET_ROWS = 65_536  # looked at together


def read_csv(path: Path) -> pd.DataFrame:
    """A table of text, with or without a line of names, whose cells are the text that stands there.

    Raises:
        BadData: If the file is empty, in an unknown encoding, has two columns of one name or lines
            of unlike length.
    """
    return delimited.table(decode(path, RECODE), str(path))


def numbers_only(path: Path) -> bool:
    """Whether a text file is a table of numbers."""
    return delimited.numbers_only(decode(path))


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
