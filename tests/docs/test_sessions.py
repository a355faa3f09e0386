"""What the pages show is what comes out: sessions of Python and of the shell are run, and tutorials run whole.

A fence of `pycon` is a session of Python, a fence of `console` one of the shell, whose lines after `$` are commands;
`...` stands for what may differ. The fences of a page share one folder and one namespace, in their order.
"""

import doctest
import re
import runpy
import shlex
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import pytest
from typer.testing import CliRunner

from likeness.cli import app

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```(pycon|console)\n(.*?)^```", re.M | re.S)
COMMAND = re.compile(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", re.M)
LOOSE = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.py"))
QUICK = ("4_text",)  # within ten seconds; the others are slow tests


@dataclass(frozen=True)
class Session:
    kind: str
    text: str
    line: int


def sessions(page: Path) -> list[Session]:
    text = page.read_text(encoding="utf-8")
    return [Session(m[1], m[2], text[: m.start(2)].count("\n")) for m in FENCE.finditer(text)]


def with_sessions() -> list[Path]:
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    return [page for page in pages if sessions(page)]


def failures(page: Path) -> list[str]:
    """What did not come out as a page says, in the order of the page."""
    names: dict[str, object] = {}
    found = []
    for session in sessions(page):
        if session.kind == "pycon":
            found += of_python(session, names, page.name)
        else:
            found += of_shell(session)
    return found


def of_python(session: Session, names: dict[str, object], page: str) -> list[str]:
    test = doctest.DocTestParser().get_doctest(session.text, names, page, page, session.line)
    said: list[str] = []
    doctest.DocTestRunner(optionflags=LOOSE).run(test, out=said.append, clear_globs=False)
    names.update(test.globs)
    return said


def of_shell(session: Session) -> list[str]:
    return [
        f"$ {line}\nshould say\n{wanted}\nand says\n{got}"
        for line, wanted in COMMAND.findall(session.text)
        if not said(wanted, got := told(line))
    ]


def told(line: str) -> str:
    """What a command prints, of both streams; commands of other programs are refused."""
    words = shlex.split(line, comments=True)
    assert words[0] == "likeness", f"the pages show {words[0]!r}, which is not run"
    outcome = CliRunner().invoke(app, words[1:])
    assert not outcome.exit_code, f"{line}: {outcome.output}"
    return outcome.output


def said(wanted: str, got: str) -> bool:
    return doctest.OutputChecker().check_output(wanted, got, LOOSE)


@pytest.mark.parametrize("page", with_sessions(), ids=lambda p: p.name)
def test_what_a_page_shows_is_what_comes_out(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    assert failures(page) == []


def marked(tutorial: Path) -> object:
    marks = () if tutorial.stem in QUICK else (pytest.mark.slow,)
    return pytest.param(tutorial, id=tutorial.stem, marks=marks)


@pytest.mark.parametrize("tutorial", [marked(t) for t in TUTORIALS])
def test_a_tutorial_runs_and_its_claims_hold(tutorial, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    matplotlib.use("agg")
    runpy.run_path(str(tutorial), run_name="__main__")


def test_a_planted_difference_is_noticed(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```pycon\n>>> 1 + 1\n3\n```\n```console\n$ likeness --version\n0\n```\n")
    assert len(failures(page)) == 2
    page.write_text("```pycon\n>>> 1 + 1\n2\n```\n```console\n$ likeness --version\nlike...\n```\n")
    assert failures(page) == []
