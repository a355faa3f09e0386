"""Two fits into one folder: the later one ends at once in a sentence, and the earlier one's files are its own."""

import json
import os
import signal
import subprocess
import sys

import pytest

import likeness as lk
from likeness.core import lock


@pytest.fixture
def held(tmp_path):
    """A process that writes into the folder, and what its checkpoint and log hold."""
    told, tells = os.pipe()
    (tmp_path / "run").mkdir()
    for name in ("checkpoint.safetensors", "metrics.jsonl"):
        (tmp_path / "run" / name).write_text("its own")
    pid = os.fork()
    if pid == 0:
        claim = lock.claim(tmp_path / "run")
        os.write(tells, b"!")
        signal.pause()
        claim.release()
    os.read(told, 1)
    yield pid
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def test_a_fit_into_the_folder_of_another_is_refused_before_data_are_read(
    cli, held, people, tmp_path
):
    said = cli(f"fit {people} gaussian --overwrite --out {tmp_path / 'run'}")
    assert said.code == 1
    assert said.out == ""
    assert said.err.startswith(f"error: another process writes here: number {held} on ")
    assert said.err.count("\n") == 1
    for name in ("checkpoint.safetensors", "metrics.jsonl"):
        assert (tmp_path / "run" / name).read_text() == "its own"


def test_overwriting_a_model_with_data_that_are_refused_leaves_the_model(cli, people, tmp_path):
    out = tmp_path / "model"
    assert cli(f"fit {people} independent --budget '3 steps' --out {out}").code == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n1,2,3\n")
    said = cli(f"fit {tmp_path / 'bad.csv'} gaussian --overwrite --out {out}")
    assert said.code == 1
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


@pytest.mark.slow
def test_of_two_fits_at_once_one_is_refused_and_the_other_is_whole(people, tmp_path):
    out = tmp_path / "run"
    line = [sys.executable, "-m", "likeness", "fit", str(people), "mixture", "--overwrite"]
    line += ["components=2", "--budget", "40 steps", "--out", str(out)]
    how = {"stderr": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    started = [subprocess.Popen([*line, "--seed", str(seed)], **how) for seed in range(4)]
    said = [process.communicate(timeout=300) for process in started]
    codes = [process.returncode for process in started]
    assert codes.count(0) >= 1
    refused = [err for code, (_, err) in zip(codes, said, strict=True) if code]
    assert refused
    assert all("another process writes here: number" in err for err in refused)
    model = lk.open(out)
    events = [json.loads(text) for text in (out / "metrics.jsonl").read_text().splitlines()]
    assert [event["iteration"] for event in events] == list(range(1, len(events) + 1))
    assert len(events) == model.facts["iterations"]
    assert sorted(path.name for path in out.iterdir()) == [
        *("card.md", "config.json", "metrics.jsonl", "model.safetensors"),
    ]
