"""What is stopped saves between two steps, says how to go on, and what goes on ends with the same bits."""

import os
import pty
import signal
import subprocess
import sys
import time

import pytest
import torch

import likeness as lk
from likeness.core.lock import LOCK
from likeness.learn.run import Run
from likeness.registry.reading import unpack

FIT = "flow layers=1 hidden=8 --budget '12 steps' --seed 3"


@pytest.fixture
def interrupted(monkeypatch):
    """Send this process a signal in the middle of the fifth step."""
    step = Run.step

    def arm(number):
        def stepped(self, phase=None):
            if self.iteration == 4:
                os.kill(os.getpid(), number)
            return step(self, phase)

        monkeypatch.setattr(Run, "step", stepped)

    yield arm
    monkeypatch.undo()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_what_is_stopped_is_saved_and_what_goes_on_has_the_same_bits(
    cli, people, tmp_path, interrupted, monkeypatch, number
):
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    line = (
        f"fit {people} {FIT} --columns city=skip --columns smoker=skip --columns signup=skip --out"
    )
    assert cli(f"{line} {straight}").code == 0
    handler = signal.getsignal(number)
    monkeypatch.setattr("sys.argv", ["likeness", "fit", str(people), "flow", "--out", str(stopped)])
    interrupted(number)
    said = cli(f"{line} {stopped}")
    assert said.code == 128 + number
    assert "stopped after 5 steps" in said.err
    assert f"likeness fit {people} flow --out {stopped} --resume" in said.err
    assert signal.getsignal(number) is handler
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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_what_is_stopped_while_data_are_read_leaves_nothing(people, tmp_path, number):
    out = tmp_path / "runs" / "new"
    words = ["fit", str(people), "mixture", "--budget", "1 steps", "--out", str(out)]
    process = subprocess.Popen(
        [sys.executable, "-m", "likeness", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    until = time.monotonic() + 60
    while not (out / LOCK).exists():
        assert time.monotonic() < until
        time.sleep(0.001)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert not out.exists()


READING = """
import importlib, os, signal, sys
from likeness.cli import main
fit = importlib.import_module("likeness.cli.fit")
fit._load = lambda *_args, **_kwargs: os.kill(os.getpid(), signal.SIGTERM)
main()
"""


def test_what_is_stopped_while_data_are_read_leaves_an_older_folder_as_it_was(people, tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "mine.txt").write_text("kept")
    words = ["fit", str(people), "mixture", "--out", str(tmp_path / "old")]
    done = subprocess.run(
        [sys.executable, "-c", READING, *words], capture_output=True, check=False, timeout=120
    )
    assert done.returncode == 128 + signal.SIGTERM, done.stderr
    assert [path.name for path in (tmp_path / "old").iterdir()] == ["mine.txt"]


def in_a_terminal(words: list[str]) -> tuple[int, int]:
    """A session of its own with a terminal of its own: the process, and the terminal."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-m", "likeness", *words])
    os.set_blocking(terminal, False)
    return pid, terminal


def read(terminal: int) -> None:
    """Take what was written, so that the process need not wait."""
    try:
        while os.read(terminal, 4096):
            pass
    except OSError:
        return


@pytest.mark.slow
def test_closing_the_terminal_saves_what_was_learned(cli, people, tmp_path):
    out = tmp_path / "run"
    columns = [
        word for name in ("city", "smoker", "signup") for word in ("--columns", f"{name}=skip")
    ]
    words = ["fit", str(people), "flow", "layers=1", "hidden=8", "--budget", "1000000 steps"]
    pid, terminal = in_a_terminal([*words, *columns, "--out", str(out)])
    log = out / "metrics.jsonl"
    until = time.monotonic() + 120
    while not (log.exists() and log.read_text().count("\n") > 20):
        assert time.monotonic() < until
        read(terminal)
        time.sleep(0.05)
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 128 + signal.SIGHUP
    assert sorted(path.name for path in out.iterdir()) == [
        "checkpoint.safetensors",
        "metrics.jsonl",
    ]
    assert unpack(out / "checkpoint.safetensors")[1]["executor"]["iteration"] > 20
