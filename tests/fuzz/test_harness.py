"""The harness itself: planted faults are found and named, and what is fine passes."""

import os
import time

import pytest

from likeness.core.errors import BadData
from tests.fuzz import inputs
from tests.fuzz.harness import fuzz


def number(rng):
    return rng.randrange(100)


def refuse(_value):
    raise BadData("it is wrong", do="mend it")


def broken(value):
    raise KeyError(value)


def two_lines(_value):
    raise BadData("first\nsecond")


def slow(_value):
    end = time.process_time() + 60
    while time.process_time() < end:
        pass


def hungry(_value):
    bytearray(300 << 20)


def reckless(_value):
    return bytearray(1 << 40)


@pytest.mark.parametrize("action", [str, refuse])
def test_success_and_refusals_pass(action):
    fuzz(action, number, 20)


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (broken, "builtins.KeyError"),
        (two_lines, "other than one sentence"),
        (hungry, "memory"),
        (reckless, "builtins.MemoryError"),
    ],
)
def test_a_planted_fault_is_named_with_seed_and_input(action, words):
    with pytest.raises(pytest.fail.Exception) as failed:
        fuzz(action, number, 3, seed=4, megabytes=200)
    assert str(failed.value).startswith("seed 4, input 0: ")
    assert words in str(failed.value)


def test_a_slow_input_is_stopped():
    with pytest.raises(pytest.fail.Exception, match="seed 0, input 0: time"):
        fuzz(slow, number, 1, seconds=0.02)


def test_an_input_that_is_slow_every_time_is_found():
    def busy(_value):
        end = time.process_time() + 0.1
        while time.process_time() < end:
            pass

    with pytest.raises(pytest.fail.Exception, match="seed 0, input 0: time"):
        fuzz(busy, number, 1, seconds=0.05)


def test_waiting_for_ever_is_stopped(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(pytest.fail.Exception, match="seed 0, input 0: time"):
        fuzz(lambda _value: (tmp_path / "pipe").read_bytes(), number, 1, seconds=0.02)


def test_what_is_slow_once_alone_passes():
    seen = []

    def loading(value):
        if not seen:
            seen.append(value)
            end = time.process_time() + 0.1
            while time.process_time() < end:
                pass

    fuzz(loading, number, 3, seconds=0.05)


def test_an_input_is_a_function_of_seed_and_number():
    seen = []
    fuzz(seen.append, inputs.value, 5, seed=3)
    fuzz(seen.append, inputs.value, 2, seed=3, first=3)
    assert list(map(repr, seen[3:5])) == list(map(repr, seen[5:]))
