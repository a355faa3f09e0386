"""Pages as they are read: links to examples lead into the gallery, and a figure stands before its code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from docstrings import escaped

EXAMPLE = re.compile(r"\]\((?:\.\./)?examples/(\w+)\.py\)")
REPOSITORY = re.compile(r"(?<!!)\[([^\]]+)\]\(\.\./(?!docs/)([\w./-]+)\)")
CODE = "\n.. GENERATED FROM PYTHON SOURCE LINES"
FIGURE = re.compile(r"^\.\. image-sg::.*?(?=^\S)", re.M | re.S)
NOTE = re.compile(r"^\.\. only:: html\n\n    \.\. note::.*?(?=^\S)", re.M | re.S)
DOWNLOADS = re.compile(r"^\.\. _sphx_glr_download_.*", re.M | re.S)


def read(app: Any, name: str, source: list[str]) -> None:
    """Change a page's text before it is parsed."""
    if name.startswith("gallery/") and not name.endswith("index"):
        source[0] = arranged(source[0])
    elif name.startswith("learn/"):
        source[0] = NOTE.sub("", source[0])
    elif Path(app.env.doc2path(name)).suffix == ".md":
        source[0] = REPOSITORY.sub(r"\1 (`\2`)", EXAMPLE.sub(r"](gallery/\1.rst)", source[0]))


def arranged(text: str) -> str:
    """An example's page: title, words, figure, code, numbers."""
    head, mark, code = DOWNLOADS.sub("", NOTE.sub("", text)).partition(CODE)
    title, words = re.split(r"(?<=\n)={3,}\n", head)
    figures = "\n".join(FIGURE.findall(code))
    rule = "=" * len(title.rstrip("\n").rpartition("\n")[2])
    return f"{title}{rule}\n{escaped(words)}\n{figures}\n{mark}{FIGURE.sub('', code)}"


def setup(app: Any) -> dict[str, bool]:
    """Connect the hook."""
    app.connect("source-read", read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
