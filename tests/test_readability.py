"""How the code reads, measured: sizes of functions and files, and how much one statement and one line hold.

Two measures have an aim that is not reached yet: 486 lines a file, 11 nodes a statement. Every bound holds what is
reached and moves one way only, towards its aim.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "likeness"
WIDTH = 100
LONGEST_FILE = 487
NODES_PER_STATEMENT = 11
COMMENTS = 0.03
NARROWING_ASSERTIONS = 6
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass
class Measures:
    """Counts over all files below one folder."""

    lines: list[str] = field(default_factory=list)
    files: dict[str, int] = field(default_factory=dict)
    bodies: list[int] = field(default_factory=list)
    nodes: list[int] = field(default_factory=list)
    statements: int = 0
    assignments: int = 0
    packed: list[str] = field(default_factory=list)
    conditional: int = 0
    nested: list[str] = field(default_factory=list)
    asserts: list[str] = field(default_factory=list)


def is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def is_counted(node: ast.AST) -> bool:
    """Whether a node is a statement, and neither a docstring nor the head of a function or class."""
    if not isinstance(node, ast.stmt) or isinstance(node, DEFINITIONS):
        return False
    return not is_docstring(node)


def own_nodes(statement: ast.stmt) -> Iterator[ast.AST]:
    """The syntax nodes of a statement without those of the statements inside it."""
    yield statement
    for child in ast.iter_child_nodes(statement):
        if isinstance(child, ast.stmt | ast.ExceptHandler | ast.match_case):
            continue
        yield from ast.walk(child)


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function's body without its docstring."""
    body = [s for s in function.body if not is_docstring(s)]
    if not body:
        return 0
    return body[-1].end_lineno - body[0].lineno + 1


def is_packed(statement: ast.Assign) -> bool:
    """Whether several values are assigned to several names at once, as in `a, b = f(), g()`."""
    return isinstance(statement.targets[0], ast.Tuple) and isinstance(statement.value, ast.Tuple)


def is_nested(node: ast.IfExp) -> bool:
    return any(isinstance(n, ast.IfExp) for n in ast.walk(node) if n is not node)


def is_narrowing(statement: ast.Assert) -> bool:
    """Whether an assertion says no more than that a value is not None."""
    test = statement.test
    return isinstance(test, ast.Compare) and isinstance(test.ops[0], ast.IsNot)


def count_statement(statement: ast.stmt, place: str, found: Measures) -> None:
    nodes = list(own_nodes(statement))
    found.statements += 1
    found.nodes.append(len(nodes))
    where = f"{place}:{statement.lineno}"
    if isinstance(statement, ast.Assign):
        found.assignments += 1
        if is_packed(statement):
            found.packed.append(where)
    if isinstance(statement, ast.Assert) and is_narrowing(statement):
        found.asserts.append(where)
    for node in nodes:
        if isinstance(node, ast.IfExp):
            found.conditional += 1
            if is_nested(node):
                found.nested.append(where)


def measured(source: Path) -> Measures:
    """Statements are all but docstrings and the heads of functions and classes."""
    found = Measures()
    for path in sorted(source.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        lines = text.split("\n")[:-1]
        place = path.relative_to(source).as_posix()
        found.files[place] = len(lines)
        found.lines += lines
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, FUNCTIONS):
                found.bodies.append(body_lines(node))
            if is_counted(node):
                count_statement(node, place, found)
    return found


@pytest.fixture(scope="module")
def code() -> Measures:
    return measured(SOURCE)


def share(part: int, whole: int) -> float:
    return part / whole


def quantile(values: list[int], level: float) -> int:
    return sorted(values)[int(level * len(values))]


def test_functions_have_a_few_lines(code):
    assert median(code.bodies) <= 5
    assert quantile(code.bodies, 0.95) <= 20
    assert max(code.bodies) <= 73


def test_files_stay_short(code):
    assert {name: n for name, n in code.files.items() if n > LONGEST_FILE} == {}


def test_a_statement_holds_one_thought(code):
    assert median(code.nodes) <= NODES_PER_STATEMENT


def test_conditional_expressions_are_few_and_never_nested(code):
    assert share(code.conditional, code.statements) <= 0.04
    assert code.nested == []


def test_values_are_assigned_one_at_a_time(code):
    assert share(len(code.packed), code.assignments) <= 0.01, code.packed


def test_the_formatter_is_hardly_ever_told_to_look_away(code):
    switches = sum("# fmt" in line for line in code.lines)
    assert share(switches, len(code.lines)) <= 0.5 / 1000


def test_paragraphs_have_a_comment_at_their_head(code):
    comments = sum(line.lstrip().startswith("#") for line in code.lines)
    assert share(comments, len(code.lines)) >= COMMENTS


def test_lines_are_short(code):
    long = sum(len(line) > WIDTH for line in code.lines)
    assert share(long, len(code.lines)) <= 0.03


def test_few_assertions_only_narrow_a_type(code):
    assert len(code.asserts) <= NARROWING_ASSERTIONS, code.asserts


PLANTED = '''"""A module."""


def f(a):
    """A function."""
    assert a is not None
    b, c = g(a), h(a)
    # a comment
    return b if a else c if b else a
'''


def test_the_measures_are_right_on_a_file_that_is_known(tmp_path):
    (tmp_path / "planted.py").write_text(PLANTED, encoding="utf-8")
    found = measured(tmp_path)
    assert found.files == {"planted.py": 9}
    assert found.bodies == [4]
    assert (found.statements, found.assignments) == (3, 1)
    assert (found.packed, found.asserts) == (["planted.py:7"], ["planted.py:6"])
    assert (found.conditional, found.nested) == (2, ["planted.py:9"])
    assert found.nodes == [6, 19, 13]
