"""One writer to a folder: refused in a sentence that names the other, taken over from the dead, gone in the end."""

import json
import multiprocessing
import os
import signal
import socket
import threading

import pytest

from likeness.core import lock
from likeness.core.errors import LikenessError

FORK = multiprocessing.get_context("fork")


def holding(folder, ready):
    claim = lock.claim(folder)
    ready.set()
    signal.pause()
    claim.release()


@pytest.fixture
def other(tmp_path):
    """A process that has claimed the folder, and does nothing else."""
    ready = FORK.Event()
    process = FORK.Process(target=holding, args=(tmp_path / "run", ready))
    process.start()
    assert ready.wait(10)
    yield process
    process.kill()
    process.join()


def refusal(folder):
    with pytest.raises(LikenessError) as caught:
        lock.claim(folder)
    return str(caught.value)


def test_another_process_is_named(other, tmp_path):
    said = refusal(tmp_path / "run")
    assert f"another process writes here: number {other.pid} on {socket.gethostname()}" in said
    assert "choose another folder" in said


def test_the_lock_of_a_killed_process_is_taken_over(other, tmp_path):
    other.kill()
    other.join()
    assert (tmp_path / "run" / lock.LOCK).exists()
    with lock.claim(tmp_path / "run"):
        signed = json.loads((tmp_path / "run" / lock.LOCK).read_text())
        assert signed == {"pid": os.getpid(), "host": socket.gethostname()}


def test_a_folder_that_nothing_came_into_is_gone_again(tmp_path):
    with lock.claim(tmp_path / "run"):
        assert (tmp_path / "run" / lock.LOCK).exists()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_was_there_stays_without_a_lock(tmp_path):
    with lock.claim(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_thread_may_claim_again_and_keeps_the_lock_until_all_claims_are_released(tmp_path):
    first = lock.claim(tmp_path)
    second = lock.claim(tmp_path)
    first.release()
    assert second.held
    assert (tmp_path / lock.LOCK).exists()
    second.release()
    assert not (tmp_path / lock.LOCK).exists()


def test_a_claim_that_is_forgotten_is_released(tmp_path):
    claim = lock.claim(tmp_path)
    assert claim.held
    del claim
    assert not (tmp_path / lock.LOCK).exists()


def in_a_thread(work):
    found = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join()
    return found[0]


def test_another_thread_is_refused(tmp_path):
    with lock.claim(tmp_path):
        assert "another thread writes here" in in_a_thread(lambda: refusal(tmp_path))


def test_the_claim_of_a_thread_that_has_ended_may_be_shared(tmp_path):
    first = in_a_thread(lambda: lock.claim(tmp_path))
    second = lock.claim(tmp_path)
    assert first.held
    assert second.held


def test_a_forked_child_does_not_hold_what_its_parent_holds(tmp_path):
    claim = lock.claim(tmp_path)

    def child(answers):
        answers.put((claim.held, refusal(tmp_path)))

    answers = FORK.Queue()
    process = FORK.Process(target=child, args=(answers,))
    process.start()
    held, said = answers.get(timeout=10)
    process.join()
    assert not held
    assert f"number {os.getpid()}" in said
    assert claim.held
    assert (tmp_path / lock.LOCK).exists()


def test_a_child_that_outlives_its_parent_does_not_keep_the_lock(tmp_path):
    def parent(ready):
        claim = lock.claim(tmp_path)
        pid = os.fork()
        if pid == 0:
            signal.pause()
        ready.put((pid, claim.held))
        signal.pause()

    ready = FORK.Queue()
    process = FORK.Process(target=parent, args=(ready,))
    process.start()
    orphan, _ = ready.get(timeout=10)
    process.kill()
    process.join()
    try:
        lock.claim(tmp_path).release()
    finally:
        os.kill(orphan, signal.SIGKILL)


def test_what_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    assert "nothing can be written: not a directory" in refusal(tmp_path / "file" / "run")


def no_locks(monkeypatch):
    def refuse(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(lock.fcntl, "flock", refuse)


def test_where_a_file_system_has_no_locks_the_name_in_the_file_is_judged(
    other, tmp_path, monkeypatch
):
    no_locks(monkeypatch)
    assert f"number {other.pid}" in refusal(tmp_path / "run")
    other.kill()
    other.join()
    with lock.claim(tmp_path / "run") as claim:
        assert claim.held
    text = json.dumps({"pid": os.getppid(), "host": "elsewhere"})
    (tmp_path / lock.LOCK).write_text(text)
    assert "elsewhere" in refusal(tmp_path)


def test_many_that_claim_and_release_at_once_never_hold_together(tmp_path):
    """Locks are removed while others wait to take them: nobody may hold a removed one."""

    def worker(count, inside, worst):
        done = 0
        while done < count:
            try:
                claim = lock.claim(tmp_path)
            except LikenessError:
                continue
            with inside.get_lock():
                inside.value += 1
                worst.value = max(worst.value, inside.value)
            with inside.get_lock():
                inside.value -= 1
            claim.release()
            done += 1

    inside = FORK.Value("i", 0)
    worst = FORK.Value("i", 0)
    workers = [FORK.Process(target=worker, args=(40, inside, worst)) for _ in range(4)]
    for process in workers:
        process.start()
    for process in workers:
        process.join(60)
        assert process.exitcode == 0
    assert worst.value == 1
