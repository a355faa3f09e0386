"""Every promise names a test, and that test exists."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
PAGE = (ROOT / "docs" / "promises.md").read_text(encoding="utf-8")


def promises() -> list[str]:
    return [line for line in PAGE.splitlines() if line.startswith("- ")]


def exists(file: str, name: str) -> bool:
    path = ROOT / file
    if not path.is_file():
        return False
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return any(isinstance(node, ast.FunctionDef) and node.name == name for node in ast.walk(tree))


def test_every_promise_names_one_test():
    assert promises()
    assert [line for line in promises() if len(NAMED.findall(line)) != 1] == []


def test_every_test_that_is_named_exists():
    assert [found for found in NAMED.findall(PAGE) if not exists(*found)] == []


def test_a_test_that_is_not_there_is_noticed():
    assert not exists("tests/test_promises.py", "test_" + "of_nothing")
    assert not exists("tests/test_of_nothing.py", "test_" + "of_nothing")
