"""What a path holds: a table, arrays, images, sounds or text."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from pathlib import Path

from likeness.core.errors import BadData
from likeness.core.space import Space
from likeness.data import audio, folders, images
from likeness.data.corpora import WORDS
from likeness.data.files import numbers_only, read_csv, read_parquet
from likeness.data.ldac import is_bags
from likeness.data.limits import uncompressed_name

TABLES = frozenset({".csv", ".tsv", ".data", ".parquet", ".pq"})
ARRAYS = {
    ".npy": "npy",
    ".npz": "npz",
    ".ts": "series",
    **dict.fromkeys(audio.SUFFIXES, "audio"),
    **dict.fromkeys((".conll", ".conllu", ".iob", ".bio"), "tags"),
}
TEXTS = ("text", WORDS)  # what a Space's `source` says of text
NAME_MOST = 200  # characters of a path in a sentence
IDX = re.compile(r"idx\d?-ubyte|\.idx\d?$")
KNOWN = ".csv, .tsv, .parquet, .npy, .npz, idx, .txt, .ldac, .wav, .conll, .conllu, .ts, or a folder of images or texts"


def kind(path: Path) -> str:
    """One of "folder", "audio", "images", "table", "npy", "npz", "idx", "text", "texts", "bags", "tags", "series".

    Raises:
        BadData: If nothing here reads it.
    """
    if path.is_dir():
        return _folder(path)
    bare = uncompressed_name(path)
    suffix = bare.suffix.lower()
    if IDX.search(bare.name):
        return "idx"
    if suffix in TABLES:
        return "table"
    if suffix in images.SUFFIXES:
        return "images"
    if suffix == ".txt":
        if numbers_only(path):
            return "table"
        return "text"
    if suffix == ".ldac" or (suffix == ".dat" and is_bags(path)):
        return "bags"
    if suffix not in ARRAYS:
        raise BadData(
            f"files of the type {suffix or 'without suffix'!r} are not read",
            where=str(path),
            do=f"give {KNOWN}",
        )
    return ARRAYS[suffix]


def kind_for(space: Space, path: Path) -> str:
    """The kind of a path as a model over `space` reads it: a .txt of numbers is text to one of text."""
    found = kind(path)
    if found == "table" and space.source in TEXTS and uncompressed_name(path).suffix == ".txt":
        return "text"
    return found


def _folder(path: Path) -> str:
    """What most of the files below a folder are.

    Data sets' own formats come before all others, texts behind them.

    Raises:
        BadData: If nothing below it is read from a folder.
    """
    listing = folders.walk(path)
    beside = [file for file in listing.files if file.parent == path]
    if any(IDX.search(file.name) for file in beside):
        return "idx"
    if any(file.suffix.lower() == ".ts" for file in beside):
        return "series"
    pictures = len(listing.of(images.SUFFIXES))
    sounds = len(listing.of(audio.SUFFIXES))
    if sounds > pictures:
        return "audio"
    if pictures:
        return "images"
    if listing.of({".txt"}):
        return "texts"
    tables = [file for file in beside if file.suffix.lower() in TABLES | set(ARRAYS)]
    if tables:
        do = f"name one of its files, such as {str(tables[0])!r}"
    else:
        do = f"give {KNOWN}"
    raise BadData(
        "there are no images, sounds, texts or .ts files in the folder", where=str(path), do=do
    )


def frame(path: Path):  # type: ignore[no-untyped-def]  # noqa: ANN201 - a pandas frame, which has no types
    """The table in a file."""
    if path.suffix.lower() in {".parquet", ".pq"}:
        return read_parquet(path)
    return read_csv(path)


def named(text: str, others: Iterable[str] = ()) -> Path:
    """What stands at a path that a user wrote.

    Raises:
        BadData: If the text is blank, or nothing stands there.
    """
    if not text.strip():
        raise BadData(
            f"{text!r} names neither a file nor a data set", do="give a path, such as data.csv"
        )
    return exists(Path(text), others)


def exists(path: Path, others: Iterable[str] = ()) -> Path:
    """The path itself, if there is something there.

    Raises:
        BadData: If not; the nearest name, of a neighbour or of `others`, is named.
    """
    if there(path):
        return path
    if there(path.parent) and path.parent.is_dir():
        parent = path.parent
    else:
        parent = None
    if parent is not None:
        beside = [p.name for p in parent.iterdir()]
    else:
        beside = []
    near = difflib.get_close_matches(path.name, [*others, *beside], n=1)
    listed = ", ".join(sorted(others))
    if listed:
        hint = f"give a path, or one of {listed}"
    else:
        hint = "give a path"
    if near:
        hint = f"did you mean {near[0]!r}?"
    raise BadData(f"no file or data set {_short(str(path))!r}", do=hint)


def there(path: Path) -> bool:
    """Whether something stands at a path; names that no file can have are names of nothing."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _short(text: str) -> str:
    if len(text) <= NAME_MOST:
        return text
    return f"{text[:NAME_MOST]}..."
