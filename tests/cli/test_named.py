"""Names of functions and classes: imported where the user typed them, and from nowhere else."""

import math
import sys

import pytest

from likeness.families import vi


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working directory with a few rows and a module that holds a density."""
    (tmp_path / "typed_density.py").write_text(
        "from pathlib import Path\n"
        f"Path({str(tmp_path)!r}, 'imported').touch()\n"
        "def density(z):\n"
        "    return -0.5 * (z - 3).square().sum(-1)\n"
        "number = 3\n"
    )
    (tmp_path / "broken_density.py").write_text("1 / 0\n")
    rows = "".join(f"{math.sin(i)},{math.cos(7 * i)}\n" for i in range(40))
    (tmp_path / "rows.csv").write_text("a,b\n" + rows)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    yield tmp_path
    for name in ("typed_density", "broken_density"):
        sys.modules.pop(name, None)
    vi.DENSITIES.pop("typed_density:density", None)


def test_a_density_that_is_typed_is_imported_and_one_that_is_read_is_not(cli, place):
    fit = "fit rows.csv vi target=typed_density:density --budget '300 steps' --out run"
    said = cli(fit)
    assert said.code == 0, said.err
    assert (place / "imported").exists()
    (place / "imported").unlink()
    del sys.modules["typed_density"]
    vi.DENSITIES.pop("typed_density:density")
    for line in ("show run", "sample run -n 5 --seed 0", "score run rows.csv --out scores.csv"):
        assert cli(line).code == 0, line
    assert not (place / "imported").exists()
    assert "typed_density" not in sys.modules
    assert "" not in sys.path


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("nowhere_at_all:f", "nowhere_at_all"),
        ("typed_density:missing", "missing"),
        ("typed_density:number", "is no function"),
        ("typed_density", "write package.module:name"),
        ("broken_density:f", "ZeroDivisionError"),
        (":", "write package.module:name"),
    ],
)
def test_a_name_that_leads_nowhere_is_refused_in_a_sentence(cli, place, target, words):
    said = cli(f"fit rows.csv vi target={target} --out run")
    assert said.code == 2
    assert said.err.count("\n") == 1
    assert words in said.err
    assert "unforeseen" not in said.err
    assert not (place / "run").exists()
