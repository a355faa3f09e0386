"""A model takes the place of another in one step: killed, full or watched, the old one or the new one is there."""

from __future__ import annotations

import errno
import itertools
import os
import random
import resource
import signal
import time
import traceback
from pathlib import Path

import pytest
import torch

from likeness.core import lock
from likeness.core.batch import Batch
from likeness.core.errors import LikenessError
from likeness.core.space import vector
from likeness.data.source import Table
from likeness.learn.run import Run
from likeness.registry import families, reading, store

FILES = {"config.json", "model.safetensors", "card.md"}
POINT = torch.tensor([[1.0, 2.0]], dtype=torch.float64)
ROWS = 400


def fitted(shift: float):
    """A model of some kilobytes, which tells by its answers which one it is."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(ROWS, 2, generator=g, dtype=torch.float64) + shift
    model = families.build("kde", {}, vector(2), seed=0)
    return Run(model.double(), Table(vector(2), Batch(x)), 2).fit()


def answer(model) -> float:
    return float(model.log_prob(POINT).value)


def saving(folder: Path, models) -> int:
    """A child that saves one model over the other, again and again."""
    pid = os.fork()
    if pid:
        return pid
    try:
        for turn in itertools.count():
            store.save(models[turn % 2], folder)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


def kill(pid: int) -> None:
    """End a child, which must have been alive."""
    os.kill(pid, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


@pytest.fixture(scope="module")
def models():
    return [fitted(0.0), fitted(3.0)]


# ---- killed ----------------------------------------------------------------------------------------------------------


def killed_at_random(folder: Path, models, kills: int) -> int:
    """How many of so many kills left neither model, or a folder that the next save did not set in order."""
    chance = random.Random(f"{kills} kills")
    begun = time.perf_counter()
    for model in (*models, *models):
        store.save(model, folder)
    lasts = (time.perf_counter() - begun) / 4
    answers = [answer(model) for model in models]
    lost = 0
    for _ in range(kills):
        store.save(models[0], folder)
        pid = saving(folder, models)
        time.sleep(chance.uniform(0, 4 * lasts))
        kill(pid)
        try:
            found = answer(reading.open_model(folder))
        except LikenessError:
            found = None
        lost += found not in answers
        store.save(models[1], folder)
        assert {path.name for path in folder.iterdir()} == FILES
        assert answer(reading.open_model(folder)) == answers[1]
    return lost


def test_a_save_that_is_killed_leaves_the_old_model_or_the_new_one(models, tmp_path):
    assert killed_at_random(tmp_path, models, 12) == 0


@pytest.mark.slow
def test_of_200_saves_that_are_killed_none_loses_a_model(models, tmp_path):
    assert killed_at_random(tmp_path, models, 200) == 0


STEPS = 12  # renames and removals of a save, and some more


def dies_after(steps: int, act) -> None:
    """Act in a child that dies when it has changed names so many times."""
    if os.fork():
        os.wait()
        return
    made = []

    def counted(change):
        def changed(path, *rest, **how):
            if len(made) == steps:
                os._exit(0)
            made.append(path)
            return change(path, *rest, **how)

        return changed

    try:
        Path.replace = counted(Path.replace)
        Path.unlink = counted(Path.unlink)
        act()
    finally:
        os._exit(0)


@pytest.mark.parametrize("steps", range(STEPS))
def test_death_between_any_two_changes_of_the_folder_loses_nothing(models, tmp_path, steps):
    old, new = (answer(model) for model in models)
    store.save(models[0], tmp_path)
    dies_after(steps, lambda: store.save(models[1], tmp_path))
    found = answer(reading.open_model(tmp_path))
    assert found in (old, new)
    with lock.claim(tmp_path):
        store.settle(tmp_path)
    assert answer(reading.open_model(tmp_path)) == found
    assert {path.name for path in tmp_path.iterdir()} == FILES
    assert reading.read_config(tmp_path)["weights"] == store.digest(
        reading.unpack(tmp_path / "model.safetensors")[0]
    )


# ---- watched ---------------------------------------------------------------------------------------------------------


def opened_during_saves(folder: Path, models, opens: int) -> list[str]:
    """What went wrong in so many opens while one model is saved over another."""
    store.save(models[0], folder)
    answers = [answer(model) for model in models]
    pid = saving(folder, models)
    wrong = []
    seen = set()
    for _ in range(opens):
        try:
            found = answer(reading.open_model(folder))
        except Exception as error:
            wrong.append(f"{type(error).__name__}: {error}")
            continue
        seen.add(found)
        if found not in answers:
            wrong.append(f"answered {found}")
    kill(pid)
    assert len(seen) == 2, "no save fell between the opens"
    return wrong


def test_opening_never_fails_while_models_are_saved(models, tmp_path):
    assert opened_during_saves(tmp_path, models, 60) == []


@pytest.mark.slow
def test_of_400_opens_during_saves_none_fails(models, tmp_path):
    assert opened_during_saves(tmp_path, models, 400) == []


# ---- full ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(1, 4))
def test_a_disk_that_fills_during_a_save_leaves_the_old_model(
    models, tmp_path, monkeypatch, number
):
    store.save(models[0], tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    synced = []
    sync = os.fsync

    def full(descriptor):
        synced.append(descriptor)
        if len(synced) >= number:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        patch.setattr("likeness.core.files.sync_names", lambda folder: None)
        with pytest.raises(LikenessError, match="the model was not saved: no space left"):
            store.save(models[1], tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_limit_on_the_size_of_files_leaves_the_old_model(models, tmp_path):
    store.save(models[0], tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, limits[1]))
    try:
        with pytest.raises(LikenessError, match="the model was not saved: file too large"):
            store.save(models[1], tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


# ---- two at once -----------------------------------------------------------------------------------------------------


def test_a_save_into_a_folder_that_another_process_writes_is_refused(models, tmp_path):
    told, tells = os.pipe()
    pid = os.fork()
    if pid == 0:
        with lock.claim(tmp_path):
            store.save(models[0], tmp_path)
            os.write(tells, b"!")
            signal.pause()
    os.read(told, 1)
    with pytest.raises(LikenessError, match=f"another process writes here: number {pid} on "):
        store.save(models[1], tmp_path)
    kill(pid)
    assert answer(reading.open_model(tmp_path)) == answer(models[0])
    store.save(models[1], tmp_path)
    assert answer(reading.open_model(tmp_path)) == answer(models[1])
