"""A fit with a folder that is stopped by a signal is saved between two steps, and leaves the program's handlers."""

import os
import signal
import threading

import pytest
import torch

from likeness.core.batch import Batch
from likeness.core.space import vector
from likeness.data.source import Table
from likeness.learn.place import CHECKPOINT
from likeness.learn.run import Run
from likeness.learn.stop import SIGNALS
from likeness.registry import families

STEPS = 12
ERRORS = {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: SystemExit, signal.SIGHUP: SystemExit}


def begun(folder, *, resume=False) -> Run:
    g = torch.Generator().manual_seed(0)
    data = Table(vector(2), Batch(torch.randn(100, 2, generator=g)))
    model = families.build("flow", {"layers": 2, "hidden": (8,)}, vector(2), seed=3)
    return Run(model, data, STEPS, seed=3, out=folder, resume=resume)


def sent_inside_a_step(run: Run, *numbers: int) -> None:
    """Have signals come in the middle of the fifth step."""
    descend = run.executor._descend

    def descending(*how):
        if run.iteration == 4:
            for number in numbers:
                os.kill(os.getpid(), number)
        return descend(*how)

    run.executor._descend = descending


@pytest.fixture(scope="module")
def straight():
    return begun(None).fit().state_dict()


@pytest.mark.parametrize("number", ERRORS)
def test_a_stopped_fit_goes_on_with_the_same_bits(tmp_path, straight, number):
    before = {number: signal.getsignal(number) for number in SIGNALS}
    run = begun(tmp_path)
    sent_inside_a_step(run, number)
    with pytest.raises(ERRORS[number]) as caught:
        run.fit()
    assert {number: signal.getsignal(number) for number in SIGNALS} == before
    assert run.saved == run.iteration == 5
    if number != signal.SIGINT:
        assert caught.value.code == 128 + number
    state = begun(tmp_path, resume=True).fit().state_dict()
    assert all(torch.equal(value, straight[name]) for name, value in state.items())


def test_signals_of_a_closing_terminal_that_come_twice_do_not_tear_a_step(tmp_path):
    run = begun(tmp_path)
    sent_inside_a_step(run, signal.SIGHUP, signal.SIGHUP, signal.SIGTERM)
    with pytest.raises(SystemExit):
        run.fit()
    assert run.saved == run.iteration == 5


def test_a_step_that_a_second_ctrl_c_tears_is_not_saved(tmp_path, straight):
    run = begun(tmp_path)
    for _ in range(3):
        run.step()
    run.save()
    sent_inside_a_step(run, signal.SIGINT, signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run.fit()
    assert run.saved == 3
    state = begun(tmp_path, resume=True).fit().state_dict()
    assert all(torch.equal(value, straight[name]) for name, value in state.items())


def test_a_signal_while_the_model_is_finished_waits_until_it_is_saved(tmp_path, monkeypatch):
    run = begun(tmp_path)
    remarks = run._remarks

    def remarking():
        os.kill(os.getpid(), signal.SIGTERM)
        return remarks()

    monkeypatch.setattr(run, "_remarks", remarking)
    with pytest.raises(SystemExit):
        run.fit()
    assert (tmp_path / "config.json").exists()
    assert not (tmp_path / CHECKPOINT).exists()


def test_whatever_stops_a_fit_between_steps_it_is_saved(tmp_path):
    run = begun(tmp_path)

    def watch(_run, event):
        if event.iteration == 7:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run.fit(watch)
    assert run.saved == 7


@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda *_: None])
def test_signals_that_the_program_ignores_or_handles_are_left_to_it(tmp_path, handler):
    before = signal.signal(signal.SIGHUP, handler)
    try:
        run = begun(tmp_path)
        sent_inside_a_step(run, signal.SIGHUP)
        run.fit()
        assert signal.getsignal(signal.SIGHUP) is handler
    finally:
        signal.signal(signal.SIGHUP, before)
    assert run.iteration == STEPS


def test_a_fit_in_a_thread_leaves_signals_alone(tmp_path):
    seen = []

    def work():
        run = begun(tmp_path)
        run.fit(lambda *_: seen.append(signal.getsignal(signal.SIGTERM)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGTERM)] * STEPS
