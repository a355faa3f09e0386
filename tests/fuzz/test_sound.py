"""Mangled WAV files: read, or refused in a sentence, soon and in little memory."""

import struct
import warnings
from functools import cache

import numpy as np
import pytest

from likeness.core.batch import as_batch
from likeness.core.space import Real, Space
from likeness.data.audio import read
from likeness.data.wav import DEPTHS, encode
from tests.fuzz.harness import fuzz, runs
from tests.fuzz.inputs import mangled

SINE = np.sin(0.1 * np.arange(40)) / 2
SIZES = (0, 1, 2, 15, 16, 18, 40, 41, 80, 2**31, 2**32 - 2, 2**32 - 1)
WORDS = (0, 1, 2, 3, 4, 6, 7, 8, 12, 16, 24, 32, 64, 255, 0xFFFE, 0xFFFF)
GUID = bytes.fromhex("000000001000800000aa00389b71")


@cache
def good():
    """A valid file of each depth, one of two channels and one with an extensible header."""
    files = [encode(SINE, rate=8000, depth=depth)[0] for depth in DEPTHS.values()]
    body = np.round(SINE * 2**15).astype("<i2").tobytes()
    stereo = struct.pack("<HHIIHH", 1, 2, 8000, 32000, 4, 16)
    wide = struct.pack("<HHIIHHHHIH", 0xFFFE, 1, 8000, 16000, 2, 16, 22, 16, 4, 1) + GUID
    return (
        *files,
        riff((b"fmt ", stereo), (b"data", body)),
        riff((b"fmt ", wide), (b"data", body)),
    )


def riff(*chunks, order="<", name=b"RIFF"):
    parts = [label + struct.pack(f"{order}I", len(body)) + body for label, body in chunks]
    whole = b"WAVE" + b"".join(parts)
    return name + struct.pack(f"{order}I", len(whole)) + whole


def mangled_sound(rng):
    return mangled(rng, rng.choice(good()))


def odd_sound(rng):
    """Chunks of any size and order, and headers of any numbers."""
    order, name = rng.choice((("<", b"RIFF"), (">", b"RIFX"), ("<", b"RF64")))
    rate = rng.choice((0, 1, 8000, 2**32 - 1))
    words = [rng.choice(WORDS) for _ in range(4)]
    head = struct.pack(f"{order}HHIIHH", words[0], words[1], rate, rate, words[2], words[3])
    if rng.random() < 0.3:
        head += struct.pack(f"{order}HHIH", 22, 16, 4, rng.choice(WORDS)) + GUID
    bodies = {
        b"fmt ": head,
        b"data": rng.randbytes(rng.randrange(90)),
        b"ds64": rng.randbytes(rng.choice((16, 28))),
        b"LIST": rng.randbytes(3),
    }
    whole = b"WAVE"
    for label in rng.choices(list(bodies), k=rng.randrange(1, 6)):
        body = bodies[label]
        size = rng.choice((len(body), len(body), len(body), rng.choice(SIZES)))
        whole += label + struct.pack(f"{order}I", size) + body + b"\0" * rng.randrange(2)
    return name + struct.pack(f"{order}I", len(whole) % 2**32) + whole


@pytest.fixture
def sound(tmp_path):
    """A WAV file of the given bytes, read."""

    def action(made):
        (tmp_path / "0.wav").write_bytes(made)
        read(tmp_path, name="x")

    return action


def test_the_good_files_are_good(sound):
    for made in good():
        sound(made)


@runs()
def test_mangled_sounds_are_read_or_refused(sound, n):
    fuzz(sound, mangled_sound, n)


@runs()
def test_sounds_of_any_chunks_are_read_or_refused(sound, n):
    fuzz(sound, odd_sound, n)


@runs(few=100, many=10_000)
def test_mangled_sounds_are_asked_about_or_refused(tmp_path, n):
    space = Space(axes=("channel", "time"), shape=(1, 40), variables=(Real(),), rate=8000.0)
    file = tmp_path / "0.wav"

    def action(made):
        file.write_bytes(made)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            as_batch(space, file)

    fuzz(action, mangled_sound, n)
