"""A folder is one fit's: two never mix, a fit that fails leaves the model that was there, full disks lose nothing."""

import json
import os
import resource
import signal
import threading
import time

import pytest
import torch

from likeness.core.batch import Batch
from likeness.core.errors import LikenessError
from likeness.core.space import vector
from likeness.data.source import Table
from likeness.learn import run as running
from likeness.learn.place import CHECKPOINT, METRICS, NEXT
from likeness.learn.run import Run
from likeness.registry import families, reading

SMALL = {"layers": 2, "hidden": (8,)}


def table(seed: int = 0) -> Table:
    g = torch.Generator().manual_seed(seed)
    return Table(vector(2), Batch(torch.randn(100, 2, generator=g, dtype=torch.float64)))


def begun(folder, *, steps=12, seed=0, **how) -> Run:
    model = families.build("flow", SMALL, vector(2), seed=seed)
    return Run(model, table(), steps, seed=seed, out=folder, **how)


def losses(path):
    return [json.loads(line)["loss"] for line in path.read_text().splitlines()]


@pytest.fixture
def other(tmp_path):
    """The process of another fit, which has done a step."""
    begun(None).step()  # what a first step imports is imported once
    told, tells = os.pipe()
    pid = os.fork()
    if pid == 0:
        run = begun(tmp_path / "run")
        run.step()
        os.write(tells, b"!")
        signal.pause()
    assert os.read(told, 1)
    yield pid
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def test_a_second_fit_into_a_folder_ends_at_once_in_a_sentence(other, tmp_path):
    start = time.perf_counter()
    with pytest.raises(LikenessError, match=f"another process writes here: number {other} on "):
        begun(tmp_path / "run", seed=1)
    assert time.perf_counter() - start < 1
    before = losses(tmp_path / "run" / METRICS)
    model = begun(None, seed=1).fit()
    with pytest.raises(LikenessError, match="another process writes here"):
        model.save(tmp_path / "run")
    assert losses(tmp_path / "run" / METRICS) == before
    assert not (tmp_path / "run" / "config.json").exists()


def test_a_second_fit_in_another_thread_is_refused(tmp_path):
    first = begun(tmp_path)
    first.step()
    said = []

    def second():
        try:
            begun(tmp_path, seed=1)
        except LikenessError as error:
            said.append(str(error))

    thread = threading.Thread(target=second)
    thread.start()
    thread.join()
    assert "another thread writes here" in said[0]
    first.fit()
    assert len(losses(tmp_path / METRICS)) == 12


def test_of_two_runs_in_one_thread_the_later_one_has_the_folder(tmp_path):
    first = begun(tmp_path)
    first.step()
    second = begun(tmp_path, seed=1)
    second.step()
    with pytest.raises(LikenessError, match="a later fit of this process writes here"):
        first.step()
    second.fit()
    alone = begun(None, seed=1)
    alone.fit()
    assert losses(tmp_path / METRICS) == [event.loss for event in alone.events]


def test_a_run_that_is_forgotten_leaves_the_folder_to_others(tmp_path):
    run = begun(tmp_path)
    run.step()
    del run
    assert begun(tmp_path, seed=1).fit().facts["seed"] == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
        ["card.md", "config.json", METRICS, "model.safetensors"]
    )


def stop(_run, event):
    if event.iteration == 5:
        raise KeyboardInterrupt


def test_a_fit_may_go_on_after_it_was_stopped(tmp_path):
    run = begun(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run.fit(stop)
    assert (tmp_path / CHECKPOINT).exists()
    run.fit()
    assert len(losses(tmp_path / METRICS)) == 12


def test_a_fit_does_not_go_on_where_another_wrote_since_it_was_stopped(tmp_path):
    run = begun(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run.fit(stop)
    pid = os.fork()
    if pid == 0:
        begun(tmp_path, seed=1, steps=3).fit()
        os._exit(0)
    os.waitpid(pid, 0)
    with pytest.raises(LikenessError, match="another fit has written here since"):
        run.fit()
    assert reading.open_model(tmp_path).facts["seed"] == 1
    assert len(losses(tmp_path / METRICS)) == 3


def test_a_fit_that_is_to_take_the_place_of_a_model_leaves_it_whole_until_then(tmp_path):
    begun(tmp_path).fit()
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    run = begun(tmp_path, seed=1, steps=4)
    run.step()
    run.save()
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.name in before} == before
    again = begun(tmp_path, seed=1, steps=4, resume=True)
    assert again.iteration == 1
    again.fit()
    assert len(losses(tmp_path / METRICS)) == 4
    assert reading.open_model(tmp_path).facts["seed"] == 1
    assert {p.name for p in tmp_path.iterdir()} == set(before)


# ---- full disks ------------------------------------------------------------------------------------------------------


@pytest.fixture
def full():
    """No file of this process may grow past so many bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_disk_that_fills_while_a_fit_ends_leaves_the_model_that_was_there(tmp_path, full):
    begun(tmp_path).fit()
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    run = begun(tmp_path, seed=1)
    full(4096)
    with pytest.raises(LikenessError, match="the model was not saved: file too large"):
        run.fit()
    after = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    assert {name: after.pop(name) for name in before} == before
    assert set(after) == {NEXT}
    assert len(losses(tmp_path / NEXT)) == 12


def test_a_disk_that_fills_while_a_checkpoint_is_written_leaves_the_one_before(
    tmp_path, full, monkeypatch
):
    run = begun(tmp_path)
    for _ in range(3):
        run.step()
    run.save()
    kept = (tmp_path / CHECKPOINT).read_bytes()
    monkeypatch.setattr(running, "SAVE_EVERY", -1.0)
    full(4096)
    with pytest.raises(LikenessError, match="nothing was written: file too large"):
        run.fit()
    assert (tmp_path / CHECKPOINT).read_bytes() == kept
    assert {p.name for p in tmp_path.iterdir()} == {CHECKPOINT, METRICS}


def test_a_log_that_cannot_grow_ends_with_its_last_whole_line(tmp_path, full):
    run = begun(tmp_path, steps=400)
    full(4096)
    with pytest.raises(LikenessError, match="the log was not written: file too large"):
        run.fit()
    assert len(losses(tmp_path / METRICS)) == run.iteration - 1
    assert {p.name for p in tmp_path.iterdir()} == {METRICS}
