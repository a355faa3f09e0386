"""Data: sources of rows, readers of files and frames, named sets, worlds whose truth is known."""

from likeness.data import frames
from likeness.data.load import load_data
from likeness.data.options import LoadOptions
from likeness.data.parting import Data
from likeness.data.source import Table

__all__ = ["Data", "LoadOptions", "Table", "load_data"]

frames.register()
