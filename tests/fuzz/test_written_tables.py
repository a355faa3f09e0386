"""Tables that pandas wrote, whatever it was told, are read cell by cell as they were, with no option."""

import random

import pandas as pd
import pytest
import torch

from likeness.core.errors import BadData
from likeness.data import frames, paths, tables
from likeness.data.columns import space_of
from tests.fuzz.written_tables import table

MANY = [150, pytest.param(1500, marks=pytest.mark.slow)]


def in_own_terms(frame):
    """A frame's values as Likeness hands them back, no column left out."""
    space, _ = space_of(frame, keep=[str(name) for name in frame])
    batch = tables.encode(space, frame)
    return frames.to_frame(space, batch, torch.ones_like(batch.x, dtype=torch.bool))


def agrees(wrote, read):
    if wrote is None or pd.isna(read):
        return wrote is None and pd.isna(read)
    if isinstance(wrote, str):
        return read == wrote
    if isinstance(wrote, pd.Timestamp):
        return read == wrote
    return float(read) == float(wrote)


def fault(written, read):
    """The first thing that was read otherwise than it was written, or None."""
    expected = written.expected()
    if list(read) != list(expected):
        return f"columns {list(read)}"
    if len(read) != len(written.frame):
        return f"{len(read)} rows"
    for name, values in expected.items():
        for row, (value, other) in enumerate(zip(values, read[name], strict=True)):
            if not agrees(value, other):
                return f"{name!r}, row {row}: {value!r} is read as {other!r}"
    return None


@pytest.mark.parametrize("n", MANY)
def test_what_pandas_wrote_is_read_as_it_was(tmp_path, n):
    path = tmp_path / "table.csv"
    faults = []
    for seed in range(n):
        written = table(random.Random(f"tables/{seed}"))
        written.save(path)
        try:
            frame = paths.frame(path)
        except BadData as error:
            # bytes do not tell their encoding: the sentence names what reads them
            assert "pandas.read_csv(path, encoding='latin-1')" in str(error), (seed, str(error))
            assert written.options["encoding"] == "latin-1", seed
            path.write_bytes(path.read_bytes().decode("latin-1").encode("utf-8"))
            frame = paths.frame(path)
        found = fault(written, in_own_terms(frame))
        if found is not None:
            faults.append((seed, found, written.options))
    assert not faults
