"""Ctrl-C saves between two steps, says how to go on, and what goes on ends with the same bits."""

import os
import signal

import pytest
import torch

import likeness as lk
from likeness.learn.run import Run

FIT = "flow layers=1 hidden=8 --budget '12 steps' --seed 3"


@pytest.fixture
def interrupted(monkeypatch):
    """Send SIGINT to this process in the middle of the fifth step."""
    step = Run.step

    def stepped(self, phase=None):
        if self.iteration == 4:
            os.kill(os.getpid(), signal.SIGINT)
        return step(self, phase)

    def arm():
        monkeypatch.setattr(Run, "step", stepped)

    yield arm
    monkeypatch.undo()


def test_ctrl_c_saves_and_what_goes_on_has_the_same_bits(
    cli, people, tmp_path, interrupted, monkeypatch
):
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    line = (
        f"fit {people} {FIT} --columns city=skip --columns smoker=skip --columns signup=skip --out"
    )
    assert cli(f"{line} {straight}").code == 0
    handler = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr("sys.argv", ["likeness", "fit", str(people), "flow", "--out", str(stopped)])
    interrupted()
    said = cli(f"{line} {stopped}")
    assert said.code == 130
    assert "stopped after 5 steps" in said.err
    assert f"likeness fit {people} flow --out {stopped} --resume" in said.err
    assert signal.getsignal(signal.SIGINT) is handler
    assert sorted(p.name for p in stopped.iterdir()) == ["checkpoint.safetensors", "metrics.jsonl"]

    monkeypatch.undo()
    again = cli(f"{line} {stopped}")
    assert again.code == 2
    assert "go on with --resume" in again.err
    assert "not finished" in cli(f"sample {stopped}").err

    said = cli(f"{line} {stopped} --resume")
    assert said.code == 0, said.err
    a, b = lk.open(straight).state_dict(), lk.open(stopped).state_dict()
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert len((stopped / "metrics.jsonl").read_text().splitlines()) == 12
    assert not (stopped / "checkpoint.safetensors").exists()


def test_there_must_be_something_to_resume(cli, people, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = cli(f"fit {people} {FIT} --resume")
    assert said.code == 2
    assert "no unfinished fit" in said.err
    assert not (tmp_path / "runs").exists()


def test_ctrl_c_before_the_first_step_leaves_nothing(cli, people, tmp_path, monkeypatch):
    def stopped(*_args, **_kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("likeness.learn.fit.start", stopped)
    said = cli(f"fit {people} {FIT} --out {tmp_path / 'model'}")
    assert said.code == 130
    assert "nothing was learned" in said.err
    assert list(tmp_path.iterdir()) == []
