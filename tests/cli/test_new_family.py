"""`likeness new-family`: the file that it writes is a family that keeps the contract."""

import importlib.util

import pytest
from typer.testing import CliRunner

from likeness.check.contract import check_model
from likeness.cli import app
from likeness.cli.new_family import source
from likeness.registry.families import CARDS, FAMILIES


@pytest.fixture
def written(request, tmp_path, monkeypatch):
    """The class in the file that the command wrote, registered for the time of the test."""
    name, model = request.param
    monkeypatch.chdir(tmp_path)
    made = CliRunner().invoke(app, ["new-family", name])
    assert made.exit_code == 0, made.output
    spec = importlib.util.spec_from_file_location(name, tmp_path / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield getattr(module, model)
    FAMILIES.pop(name)
    CARDS.pop(name)


@pytest.mark.parametrize("written", [("zero_inflated", "ZeroInflated")], indirect=True)
def test_the_written_family_keeps_the_contract(written):
    report = check_model(written, spaces=("reals2", "table"), givens=("none",))
    assert report, str(report)
    assert written.card.name == "zero_inflated"


@pytest.mark.parametrize("written", [("broken", "Broken")], indirect=True)
def test_a_broken_equation_breaks_the_contract(written):
    written._sample = lambda self, noise, given, length, settings: (
        self.mean + 2 * noise.normal("x", *self.mean.shape)
    )
    report = check_model(written, spaces=("reals2",), givens=("none",), numbers=(5,))
    assert not report, str(report)


def test_a_skeleton_is_short():
    lines = [line for line in source("mine", "Mine").split("\n") if line.strip()]
    assert len([line for line in lines if not line.startswith(("from", "import", '"""'))]) <= 70


@pytest.mark.parametrize("name", ["gaussian", "Mine", "class", "a b", ""])
def test_names_that_cannot_be_are_refused(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = CliRunner().invoke(app, ["new-family", name])
    assert made.exit_code != 0
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_exists_is_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("mine", encoding="utf-8")
    made = CliRunner().invoke(app, ["new-family", "mine"])
    assert made.exit_code == 2
    assert (tmp_path / "mine.py").read_text(encoding="utf-8") == "mine"
