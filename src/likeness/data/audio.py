"""WAV files as series of real numbers in [-1, 1): fixed length (1, T) where all are of one length, else ragged."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import torch

from likeness.core.batch import Batch, as_batch
from likeness.core.errors import BadData
from likeness.core.space import Real, Space
from likeness.data.arrays import Array, with_label
from likeness.data.source import Reading, Table

FULL_SCALE = {1: 2.0**7, 2: 2.0**15, 4: 2.0**31}


def read_wav(file: Path) -> tuple[Array, int]:
    """The samples (T,) in [-1, 1), channels averaged, and the rate in Hz.

    Raises:
        BadData: If it is no PCM WAV file of 8, 16 or 32 bits.
    """
    try:
        with wave.open(str(file), "rb") as sound:
            width = sound.getsampwidth()
            channels = sound.getnchannels()
            rate = sound.getframerate()
            raw = sound.readframes(sound.getnframes())
    except (wave.Error, EOFError, OSError) as error:
        raise BadData(
            "the sound cannot be read", where=str(file), do="save it as PCM WAV of 16 bits"
        ) from error
    if width not in FULL_SCALE:
        raise BadData(
            f"a sound of {8 * width} bits a sample",
            where=str(file),
            do="save it as PCM WAV of 16 bits",
        )
    samples = np.frombuffer(raw, dtype="u1" if width == 1 else f"<i{width}").astype(np.float64)
    if width == 1:
        samples = samples - 128
    return (samples / FULL_SCALE[width]).reshape(-1, channels).mean(1), rate


def read(path: Path, *, name: str) -> Reading:
    """One WAV file, or a folder of them whose sub-folders are classes.

    Raises:
        BadData: If there are none, or their rates differ.
    """
    if path.is_file():
        found = [path]
    else:
        found = sorted(p for p in path.rglob("*") if p.suffix.lower() == ".wav")
    if not found:
        raise BadData("the folder holds no WAV files", where=str(path))
    sounds = [read_wav(file) for file in found]
    rates = [rate for _, rate in sounds]
    odd = next((i for i, rate in enumerate(rates) if rate != rates[0]), None)
    if odd is not None:
        raise BadData(
            f"a sound of {rates[odd]} Hz among sounds of {rates[0]} Hz",
            where=str(found[odd]),
            do="resample it",
        )
    space, batch = _items([samples for samples, _ in sounds], float(rates[0]))
    reading = Reading({"all": Table(space, batch, name=name)})
    if path.is_file() or any(file.parent == path for file in found):
        return reading
    classes = np.array([file.relative_to(path).parts[0] for file in found])
    return with_label(reading, classes, "label", where=str(path))


def _items(sounds: list[Array], rate: float) -> tuple[Space, Batch]:
    lengths = {len(s) for s in sounds}
    unit = Real(unit="full scale")
    if len(lengths) == 1:
        fixed = Space(
            axes=("channel", "time"),
            shape=(1, lengths.pop()),
            variables=(unit,),
            rate=rate,
            source="audio",
        )
        return fixed, Batch(torch.from_numpy(np.stack(sounds)[:, None]).float())
    space = Space(
        axes=("time", "channel"),
        shape=(None, 1),
        variables=(unit,),
        longest=max(lengths),
        rate=rate,
        source="audio",
    )
    return space, as_batch(space, [torch.from_numpy(s[:, None]).float() for s in sounds])


def write(space: Space, batch: Batch, path: Path) -> None:
    """Sounds as WAV of 16 bits: one as the path itself, several numbered from 0.

    Raises:
        BadData: If the Space has no sampling rate.
    """
    if space.rate is None:
        raise BadData("items without a sampling rate are no sounds", do="set Space.rate")
    x = batch.x.flatten(1).double().clamp(-1, 1 - 2.0**-15)
    for i, samples in enumerate(x):
        if batch.length is not None:
            count = int(batch.length[i])
        else:
            count = len(samples)
        if len(batch) == 1:
            name = path
        else:
            name = path.with_stem(f"{path.stem}-{i:04d}")
        with wave.open(str(name), "wb") as sound:
            sound.setnchannels(1)
            sound.setsampwidth(2)
            sound.setframerate(int(space.rate))
            sound.writeframes((samples[:count] * 2**15).round().to(torch.int16).numpy().tobytes())
