"""Sounds as reals whose full scale is 1: (1, T) where all are of one length, else ragged."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from likeness.core.batch import Batch, as_batch
from likeness.core.errors import BadConfig, BadData
from likeness.core.files import write_atomic
from likeness.core.space import Real, Space
from likeness.data import folders, wav
from likeness.data.arrangement import Arrangement, arrange
from likeness.data.arrays import Array
from likeness.data.folders import counted, listed
from likeness.data.limits import check_memory
from likeness.data.source import Loud, Reading, Table
from likeness.data.wav import Sound

SUFFIXES = frozenset({".wav", ".wave"})
DEPTHS = tuple(wav.FORMS)  # the widest last
DEPTH = "i16"


def read(path: Path, *, name: str) -> Reading:
    """One WAV file, or a folder of them: sub-folders are classes, train and test an official split.

    Raises:
        BadData: If there are none, one cannot be read, or their rates differ.
    """
    found = (
        Arrangement({"all": (path,)}, {"all": (None,)})
        if path.is_file()
        else arrange(path, SUFFIXES, "sound")
    )
    sounds = _sounds([file for files in found.files.values() for file in files], path)
    rate = one_rate(sounds)
    signals = {file: sound.samples.mean(1) for file, sound in sounds.items()}
    space = _space(
        list(signals.values()), rate, max((s.depth for s in sounds.values()), key=DEPTHS.index)
    )
    tables = {}
    for part, files in found.files.items():
        given, given_space = found.given(part)
        batch = _batch(space, [signals[file] for file in files]).given_as(given)
        tables[part] = Table(space, batch, given_space=given_space, name=name)
    notes = (*_notes(sounds), *_lengths(signals), *found.notes)
    return Reading(tables, notes, aside="label" if found.names else None)


def of_path(space: Space, path: Path) -> tuple[Batch, tuple[str, ...]]:
    """Sounds of a file or a folder as items of a Space, and what was changed or is missing.

    Raises:
        BadData: If one cannot be read, or its rate is not that of the Space.
    """
    found = [path] if path.is_file() else folders.files(path, SUFFIXES)
    sounds = _sounds(found, path)
    rate = one_rate(sounds)
    if space.rate is not None and rate != space.rate:
        raise BadData(
            f"a sound of {rate} Hz where sounds of {space.rate:g} Hz were learned",
            where=str(found[0]),
            do="resample it",
        )
    return _batch(space, [sound.samples.mean(1) for sound in sounds.values()]), _notes(sounds)


def _sounds(files: Sequence[Path], path: Path) -> dict[Path, Sound]:
    check_memory(wav.EXPANSION * sum(file.stat().st_size for file in files), path)
    return {file: wav.read(file) for file in files}


def one_rate(sounds: Mapping[Path, Sound]) -> int:
    """The rate of all sounds, in Hz.

    Raises:
        BadData: If they differ: the first file of another rate than most.
    """
    counts = Counter(sound.rate for sound in sounds.values())
    common = counts.most_common(1)[0][0]
    odd = [file for file, sound in sounds.items() if sound.rate != common]
    if odd:
        said = f"a sound of {sounds[odd[0]].rate} Hz among sounds of {common} Hz"
        more = f" (and {counted(len(odd) - 1, 'other')} of other rates)" if len(odd) > 1 else ""
        raise BadData(said + more, where=str(odd[0]), do="resample it")
    return common


def _space(signals: Sequence[Array], rate: int, depth: str) -> Space:
    lengths = {len(signal) for signal in signals}
    full_scale = (Real(unit="full scale"),)
    if len(lengths) == 1:
        return Space(
            axes=("channel", "time"),
            shape=(1, *lengths),
            variables=full_scale,
            rate=rate,
            depth=depth,
            source="audio",
        )
    return Space(
        axes=("time", "channel"),
        shape=(None, 1),
        variables=full_scale,
        longest=max(lengths),
        rate=rate,
        depth=depth,
        source="audio",
    )


def _batch(space: Space, signals: Sequence[Array]) -> Batch:
    """Signals (T,) as items of a Space, a channel of each."""
    if space.ragged:
        return as_batch(space, [torch.from_numpy(signal[:, None]) for signal in signals])
    if not signals:
        return as_batch(space, torch.zeros(0, *space.layout))
    lengths = sorted({len(signal) for signal in signals} - {space.layout[-1]})
    if lengths:
        raise BadData(
            f"a sound of {lengths[0]} samples where each has {space.layout[-1]}",
            do="cut it, or fill it up with zeros",
        )
    return as_batch(space, torch.from_numpy(np.stack(signals)[:, None]))


# ---- notes ---------------------------------------------------------------------------------------


def _notes(sounds: Mapping[Path, Sound]) -> tuple[str, ...]:
    """What was changed, and what is missing."""
    made: list[str] = []
    cut = {file: sound.missing for file, sound in sounds.items() if sound.missing}
    if cut:
        names = listed(file.name for file in cut)
        lost = f"{sum(cut.values()):,} samples that their heads promise are missing"
        made.append(Loud(f"{counted(len(cut), 'sound')} cut short ({names}): {lost}"))
    wide = [file for file, sound in sounds.items() if sound.samples.shape[1] > 1]
    if wide:
        names = listed(file.name for file in wide)
        said = f"{counted(len(wide), 'sound')} of several channels ({names})"
        made.append(Loud(f"{said}: the channels are averaged into one"))
    loud = {file: float(np.abs(sound.samples).max()) for file, sound in sounds.items()}
    beyond = {file: peak for file, peak in loud.items() if peak > 1}
    if beyond:
        names = listed(file.name for file in beyond)
        said = f"{counted(len(beyond), 'sound')} beyond full scale ({names})"
        made.append(f"{said}: up to {max(beyond.values()):g} times")
    return tuple(made)


def _lengths(signals: Mapping[Path, Array]) -> tuple[str, ...]:
    lengths = {len(signal) for signal in signals.values()}
    if len(lengths) == 1:
        return ()
    return (
        f"sounds of {min(lengths):,} to {max(lengths):,} samples: read as series of unlike lengths",
    )


# ---- writing -------------------------------------------------------------------------------------


def targets(path: Path, n: int) -> list[Path]:
    """The files of n sounds: the path itself for one, numbered from 0 for several."""
    if n == 1:
        return [path]
    return [path.with_stem(f"{path.stem}-{i:04d}") for i in range(n)]


def write(space: Space, batch: Batch, path: Path) -> None:
    """Sounds as WAV files of the rate and depth that were learned.

    One is the path itself, several are numbered from 0.

    Raises:
        BadData: If the items are no sounds of one channel.
        BadConfig: If the Space has no sampling rate, or an unknown depth.
    """
    depth = space.depth or DEPTH
    if space.rate is None or space.rate < 1:
        raise BadConfig("items without a sampling rate are no sounds", do="set Space.rate")
    if depth not in wav.FORMS:
        raise BadConfig(
            f"sounds of depth {depth!r} are not written", do=f"use one of {', '.join(DEPTHS)}"
        )
    if space.axes not in {("channel", "time"), ("time", "channel")} or 1 not in space.shape:
        raise BadData("sounds of several channels are not written", do="save them as .npz")
    total = 0
    signals = batch.x.flatten(1).detach().cpu().numpy()
    for i, (signal, target) in enumerate(zip(signals, targets(path, len(batch)), strict=True)):
        count = len(signal) if batch.length is None else int(batch.length[i])
        made, clipped = wav.encode(signal[:count], rate=round(space.rate), depth=depth)
        write_atomic(target, made)
        total += clipped
    if total:
        warnings.warn(
            f"{counted(total, 'sample')} beyond full scale, clipped in the file", stacklevel=2
        )
