"""Options of a family as name=value: read, gathered into nested families, and checked before any data is read."""

from __future__ import annotations

import ast
import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from likeness.core.errors import BadConfig
from likeness.registry.index import read

if TYPE_CHECKING:
    from likeness.core.config import Config

# What `fit` takes as options of its own.
OWN = (
    *("budget", "seed", "holdout", "out", "given", "columns", "device", "resume", "overwrite"),
    *("series", "words", "vocabulary", "max-memory"),
)
Path = tuple[str, ...]
Row = Mapping[str, Any]


# ---- words to values -----------------------------------------------------------------------------


def value(text: str) -> Any:
    """A value as it is typed: JSON where it is that, else values between commas, else the text itself."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    bare = text.strip()
    bracketed = bare.startswith("(") and bare.endswith(")")
    if bracketed:
        bare = bare[1:-1]
    if bracketed or "," in bare:
        return [value(part.strip()) for part in bare.split(",") if part.strip()]
    return text


def parse(words: Sequence[str]) -> dict[str, Any]:
    """Options from words, in any order: layers=6 hidden=64,64 prior=flow prior.layers=6.

    Raises:
        BadConfig: For a word that is no name=value, an option given twice, or one that is both a
            value and a family.
    """
    flat: dict[Path, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        path = tuple(name.strip().split("."))
        if not equals or not all(part.isidentifier() for part in path):
            raise BadConfig(
                f"{word!r} is not an option", do="write options as name=value, such as layers=6"
            )
        if path in flat:
            raise BadConfig(f"{name.strip()!r} is given twice", do="give it once")
        flat[path] = value(text)
    return _gathered(flat)


def _gathered(flat: Mapping[Path, Any]) -> dict[str, Any]:
    """Options by their first name; what stands below a name are the options of the family that it holds."""
    out: dict[str, Any] = {}
    for name in dict.fromkeys(path[0] for path in flat):
        below = {path[1:]: v for path, v in flat.items() if path[0] == name and len(path) > 1}
        if below:
            out[name] = _family(name, flat.get((name,), {}), _gathered(below))
        else:
            out[name] = flat[(name,)]
    return out


def _family(name: str, own: Any, below: dict[str, Any]) -> dict[str, Any]:
    held = {"family": own} if isinstance(own, str) else own
    if not isinstance(held, dict):
        raise BadConfig(
            f"{name!r} is both a value and a family with options", do=f"write {name}=FAMILY"
        )
    twice = next((key for key in below if key in held), None)
    if twice is not None:
        raise BadConfig(f"{f'{name}.{twice}'!r} is given twice", do="give it once")
    return {**held, **below}


# ---- values to a Config --------------------------------------------------------------------------


def checked(family: str, words: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """The family's name and its options, as far as they can be checked without the family's code.

    Raises:
        BadConfig: For an unknown family, option or choice, with the nearest that there is.
    """
    options = parse(words)
    rows = read().get(known(family))
    return family, options if rows is None else against(rows["options"], options)


def known(family: str) -> str:
    """The name of a family, shipped or registered by entry point.

    Raises:
        BadConfig: If there is none of that name, with the nearest.
    """
    if family not in read():
        from likeness.registry import family as find  # entry points load their own code

        find(family)
    return family


def against(rows: Sequence[Row], options: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """The options in the form that their types ask for, held against the rows of the index."""
    by_name = {row["name"]: row for row in rows}
    return {name: _fitted(by_name, name, given, path) for name, given in options.items()}


def _fitted(rows: Mapping[str, Row], name: str, given: Any, path: str) -> Any:
    if name not in rows:
        raise BadConfig(f"there is no option {path + name!r}", do=_hint(name, rows))
    kind = str(rows[name]["type"])
    if "Any" in kind:
        return _nested(given, f"{path}{name}")
    if isinstance(given, str) and given.lower() == "none" and "None" in kind:
        return None
    if kind.startswith("tuple") and not isinstance(given, list):
        return [given]
    if kind.startswith("Literal"):
        _one_of(given, ast.literal_eval(kind.removeprefix("Literal")), path + name)
    return given


def _nested(given: Any, path: str) -> Any:
    """A family that an option holds: a name, or a name with options."""
    if isinstance(given, dict) and "family" not in given:
        raise BadConfig(f"{path!r} has options and no family", do=f"write {path}=FAMILY too")
    if isinstance(given, str) and given != "none":
        held = {"family": given}
    else:
        held = given
    if not isinstance(held, dict):
        return given
    rows = read().get(known(str(held["family"])))
    rest = {key: v for key, v in held.items() if key != "family"}
    return {
        "family": held["family"],
        **(rest if rows is None else against(rows["options"], rest, f"{path}.")),
    }


def _one_of(given: Any, choices: Iterable[Any], name: str) -> None:
    listed = list(choices)
    if given not in listed:
        near = difflib.get_close_matches(str(given), map(str, listed), n=1)
        if near:
            do = f"did you mean {near[0]!r}?"
        else:
            do = f"choose among {', '.join(map(str, listed))}"
        raise BadConfig(f"{name} cannot be {given!r}", do=do)


def _hint(name: str, rows: Iterable[str]) -> str:
    if name in OWN:
        return f"write it with two dashes: --{name}"
    near = difflib.get_close_matches(name, list(rows), n=1)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"the options are {', '.join(rows)}"


def config(family: str, options: Mapping[str, Any]) -> Config:
    """The family's Config: types and limits are held against its own code.

    Raises:
        BadConfig: Naming the option and what was expected.
    """
    from likeness import registry

    return registry.family(family).Config.parse(dict(options))


def pairs(words: Sequence[str] | None, option: str) -> dict[str, str]:
    """Values of a repeated option as NAME=VALUE, left as text.

    Raises:
        BadConfig: If a word is no pair.
    """
    out: dict[str, str] = {}
    for word in words or ():
        name, equals, text = word.partition("=")
        if not equals or not name:
            raise BadConfig(f"{word!r} is not a pair", do=f"write {option} NAME=VALUE")
        out[name] = text
    return out
