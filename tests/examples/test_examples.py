"""Every example runs and draws its figure; the page of topics names each by its first line and by its numbers."""

import importlib.util
import math
import re
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted(p for p in (ROOT / "examples").glob("*.py") if not p.name.startswith("_"))
NAMES = [p.stem for p in FILES]
CHEAP = (
    "bounds",
    "chains",
    "classes",
    "directions",
    "divergences",
    "gradients",
    "heights",
    "hidden_states",
    "kernels",
    "mixtures",
    "strangeness",
    "tagging",
)  # whole within a few seconds
LONG = (
    "change_of_variables",
    "codes",
    "diffusion_chain",
    "game",
    "kalman",
    "mode_collapse",
    "pixels",
    "posterior",
)  # ten seconds and more, quick as they may be: `make slow`
ROW = re.compile(
    r"^\| (?P<topic>[^|]+) \| (?P<claim>[^|]+) \| (?P<numbers>[^|]+) \| \[(?P<name>\w+)\.py\]", re.M
)
NUMBER = re.compile(r"`([^`]+)` (-?\d[\d,]*(?:\.\d+)?(?:e-?\d+)?)(?: ± (\d[\d.]*))?")


@cache
def example(name: str) -> ModuleType:
    """An example as a module; their shared page stands beside them."""
    folder = str(ROOT / "examples")
    sys.path.insert(0, folder)
    try:
        spec = importlib.util.spec_from_file_location(
            f"example_{name}", ROOT / "examples" / f"{name}.py"
        )
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(folder)
    return module


def topics() -> str:
    """The page, with bars that are no edge of a cell out of the way."""
    return (ROOT / "docs" / "topics.md").read_text(encoding="utf-8").replace(r"\|", "¦")


def rows() -> dict[str, list[re.Match[str]]]:
    """The rows of the table by example."""
    found: dict[str, list[re.Match[str]]] = {}
    for row in ROW.finditer(topics()):
        found.setdefault(row["name"], []).append(row)
    return found


def wrong(name: str, numbers: dict[str, float]) -> list[str]:
    """The numbers of the page that an example's own do not round to, or that it does not give."""
    said = [
        number
        for row in rows()[name]
        for number in NUMBER.findall(row["numbers"].replace("¦", "|"))
    ]
    assert said, f"the page gives no number of {name}"
    gaps = {
        what: (text, abs(numbers.get(what, math.inf) - float(text.replace(",", ""))))
        for what, text, _ in said
    }
    most = {what: tolerance(text, error) for what, text, error in said}
    return [
        f"{what}: {gaps[what][0]}, found {numbers.get(what)}"
        for what in gaps
        if not gaps[what][1] <= most[what]
    ]


def tolerance(text: str, error: str) -> float:
    """What is written after ±, else half a unit of the last digit, and a little for its own rounding."""
    if error:
        return float(error)
    digits, _, power = text.partition("e")
    return 0.501 * 10.0 ** (int(power or 0) - len(digits.partition(".")[2]))


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow) if n in LONG else n for n in NAMES],
)
def test_it_runs_quickly_and_draws_its_figure(name: str, tmp_path: Path) -> None:
    numbers = example(name).main(tmp_path, quick=name not in CHEAP)
    assert [p.name for p in tmp_path.iterdir()] == [f"{name}.png"]
    assert (tmp_path / f"{name}.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert numbers
    assert all(value == value for value in numbers.values())
    if name in CHEAP:
        assert wrong(name, numbers) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in NAMES if n not in CHEAP])
def test_the_page_gives_the_numbers_of_the_whole_example(name: str, tmp_path: Path) -> None:
    assert wrong(name, example(name).main(tmp_path)) == []


def test_the_page_names_every_example_and_its_first_line() -> None:
    found = rows()
    assert set(found) == set(NAMES)
    lines = {
        p.stem: p.read_text(encoding="utf-8").splitlines()[0].removeprefix('"""') for p in FILES
    }
    assert {n: line for n, line in lines.items() if not line.startswith(found[n][0]["topic"])} == {}


def test_every_link_of_the_page_leads_to_a_file() -> None:
    linked = re.findall(r"\]\(([^)#:]+)\)", topics())
    assert linked
    assert [path for path in linked if not (ROOT / "docs" / path).resolve().exists()] == []


def test_every_mistake_names_the_example_that_corrects_it() -> None:
    section = topics().split("## Common mistakes", 1)[1]
    entries = [
        line for line in section.splitlines() if line.startswith("| ") and "---" not in line
    ][1:]
    assert len(entries) > 20
    assert [
        line for line in entries if not re.search(r"\]\(\.\./(examples|tests)/[\w/]+\.py\)", line)
    ] == []
