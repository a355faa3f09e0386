"""`likeness new-family`: a file with a family that keeps the contract, to begin one's own from."""

from __future__ import annotations

import keyword
import re
from pathlib import Path
from typing import Annotated

import typer

from likeness.cli.text import remark
from likeness.core.errors import BadConfig

TEMPLATE = Path(__file__).parent / "templates" / "family.txt"
NAME = re.compile(r"[a-z][a-z0-9_]*")


def new_family(
    name: Annotated[str, typer.Argument(help="Its name: lower case, such as `zero_inflated`.")],
    out: Annotated[Path | None, typer.Option(help="The file to write (NAME.py).")] = None,
) -> None:
    """Write a family of your own to begin from: it fits, samples and keeps the contract as it is.

    likeness new-family zero_inflated
    """
    _check_name(name)
    path = out or Path(f"{name}.py")
    if path.exists():
        raise BadConfig(f"{path} exists", do="name another file with --out, or move it away")
    model = "".join(word.capitalize() for word in name.split("_"))
    path.write_text(source(name, model), encoding="utf-8")
    remark(f"{path} is written: likeness check {path.stem}:{model} holds it to the contract")


def source(name: str, model: str) -> str:
    """The text of a family's file."""
    from datetime import date
    from string import Template

    text = TEMPLATE.read_text(encoding="utf-8")
    title = name.replace("_", " ").capitalize()
    return Template(text).substitute(name=name, model=model, title=title, year=date.today().year)


def _check_name(name: str) -> None:
    from likeness.registry.index import read

    if not NAME.fullmatch(name) or keyword.iskeyword(name):
        raise BadConfig(
            f"{name!r} is no name for a family",
            do="take lower-case letters, digits and underscores, as in zero_inflated",
        )
    if name in read():
        raise BadConfig(f"there is a family {name!r} already", do="take another name")
