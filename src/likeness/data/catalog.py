"""Named data sets: scikit-learn's bundled ones, and those in the folder that LIKENESS_DATA names."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from likeness.core.batch import Batch
from likeness.core.errors import BadData
from likeness.core.space import Ordinal, Space, image, vector
from likeness.data import conll, corpora, labels, series, spaces, tables, text, tsfile
from likeness.data.arrayfiles import read_idx
from likeness.data.arrays import Array
from likeness.data.files import read_csv
from likeness.data.options import Request
from likeness.data.source import NOTES, Reading, Table
from likeness.data.textfile import decode

VARIABLE = "LIKENESS_DATA"
ADULT = (
    *(
        "age",
        "workclass",
        "fnlwgt",
        "education",
        "education-num",
        "marital-status",
        "occupation",
        "relationship",
    ),
    *("race", "sex", "capital-gain", "capital-loss", "hours-per-week", "native-country", "income"),
)


@dataclass(frozen=True)
class Entry:
    """A named set.

    Args:
        title: One line on it.
        read: Its reader.
        get: How to get it, where it is not bundled.
        table: Whether its columns may be given by name.
        places: Its folders below the root, in the order they are tried; its name where none is
            said.
    """

    title: str
    read: Callable[[Request], Reading]
    get: str = ""
    table: bool = False
    places: tuple[str, ...] = ()


def root() -> Path | None:
    """The folder of data sets, if LIKENESS_DATA names one."""
    said = os.environ.get(VARIABLE)
    if said:
        return Path(said)
    return None


def available(name: str) -> bool:
    """Whether a named set can be read here."""
    entry = SETS[name]
    if not entry.get:
        return True
    try:
        _folder(name)
    except BadData:
        return False
    return True


def read(request: Request) -> Reading:
    """A named set.

    Raises:
        BadData: If its files are absent: how to get them.
    """
    return SETS[request.name].read(request)


def _folder(name: str) -> Path:
    """Where a set's files are: its own folder below the root, or below a collection there."""
    home = root()
    places = SETS[name].places or (name,)
    # A collection's folder may have another name: all known places are tried.
    if home is not None:
        folder = next((home / p for p in places if (home / p).is_dir()), None)
    else:
        folder = None
    if folder is None:
        do = f"get {SETS[name].get}, and put the files in {places[0]}/ below the folder that {VARIABLE} names"
        raise BadData(
            f"the data set {name!r} is not here",
            where=VARIABLE + (f"={home}" if home else " is not set"),
            do=do,
        )
    return folder


def _file(name: str, *tried: str) -> Path:
    folder = _folder(name)
    file = next((folder / t for t in tried if (folder / t).exists()), None)
    if file is None:
        raise BadData(
            f"the data set {name!r} lacks {tried[0]!r}",
            where=str(folder),
            do=f"get {SETS[name].get}",
        )
    return file


# ---- bundled -------------------------------------------------------------------------------------


def _digits(request: Request) -> Reading:
    from sklearn.datasets import load_digits

    digits = load_digits()
    x = torch.from_numpy(digits.images[:, None]).float()
    table = Table(image(1, 8, 8, levels=17), Batch(x), name=request.name)
    return labels.with_label(Reading({"all": table}), digits.target, "label", where=request.name)


def _bundled(loader: str, label: str) -> Callable[[Request], Reading]:
    """A table of reals with a class; roundings are noted only, as densities are what others report of these sets."""

    def read_one(request: Request) -> Reading:
        import sklearn.datasets

        found = getattr(sklearn.datasets, loader)()
        frame = pd.DataFrame(found.data, columns=list(found.feature_names))
        reading = tables.read(
            {"all": frame},
            name=request.name,
            columns=request.options.columns,
            rounding=request.noted_rounding,
        )
        names = np.array([str(n) for n in found.target_names])
        return labels.with_label(reading, names[found.target], label, where=request.name)

    return read_one


# ---- in the user's folder ------------------------------------------------------------------------


def _digits_of(folder: Path, stem: str, kind: str, name: str) -> Array:
    # Zipped or not
    for suffix in (".gz", ""):
        if (folder / f"{stem}-{kind}{suffix}").exists():
            return read_idx(folder / f"{stem}-{kind}{suffix}")
    raise BadData(
        f"{name} lacks {stem}-{kind}", where=str(folder), do="put the four idx files there"
    )


def read_idx_folder(folder: Path, *, name: str) -> Reading:
    """Images and labels as MNIST's four idx files hold them: train-* and t10k-*.

    Raises:
        BadData: If a file is absent or broken.
    """
    parts = {}
    # The test images carry the prefix of their count, ten thousand.
    for part, stem in (("train", "train"), ("test", "t10k")):
        pixels = _digits_of(folder, stem, "images-idx3-ubyte", name)
        space, x, _ = spaces.infer(pixels)
        reading = Reading({"all": Table(space, Batch(torch.from_numpy(x).float()), name=name)})
        classes = _digits_of(folder, stem, "labels-idx1-ubyte", name).astype(np.int64)
        parts[part] = labels.with_label(reading, classes, "label", where=str(folder)).parts["all"]
    return Reading(parts, aside="label")


def _mnist(request: Request) -> Reading:
    return read_idx_folder(_folder(request.name), name=request.name)


def _binary(request: Request) -> Reading:
    """Three files of zeros and ones between commas."""
    parts = {}
    for part in ("train", "valid", "test"):
        file = _file(request.name, f"{request.name}.{part}.data", f"{request.name}.{part}.csv")
        x = pd.read_csv(file, header=None, dtype=np.uint8).to_numpy()
        space: Space = vector(x.shape[1], Ordinal(levels=2))
        parts[part] = Table(space, Batch(torch.from_numpy(x).float()), name=request.name)
    return Reading(parts)


def _adult(request: Request) -> Reading:
    """The census table; the test file's first line is a comment and its classes end in a point."""
    frames = {
        part: pd.read_csv(
            _file(request.name, file), names=list(ADULT), skipinitialspace=True, comment="|"
        )
        for part, file in (("train", "adult.data"), ("test", "adult.test"))
    }
    # "<=50K." in the test file is "<=50K" in the training file.
    clean = {part: f.assign(income=f["income"].str.rstrip(".")) for part, f in frames.items()}
    return read_frames(request, clean)


def _csv(file: str) -> Callable[[Request], Reading]:
    return lambda request: read_frames(request, {"all": read_csv(_file(request.name, file))})


def read_frames(request: Request, frames: Mapping[str, pd.DataFrame]) -> Reading:
    """Frames of one kind, by part, as asked: rows, or steps of series; with what their files told."""
    # Notes of the files come first, each once, then those of the reader.
    notes = dict.fromkeys(note for frame in frames.values() for note in frame.attrs.get(NOTES, ()))
    reading = _steps(request, frames) if request.options.series else _rows(request, frames)
    return replace(reading, notes=(*notes, *reading.notes))


def _steps(request: Request, frames: Mapping[str, pd.DataFrame]) -> Reading:
    return series.read(
        pd.concat(list(frames.values()), ignore_index=True),
        name=request.name,
        key=series.asked_key(request.options.series),
        given=request.given,
        group=request.group,
        columns=request.options.columns,
        rounding=request.noted_rounding,
    )


def _rows(request: Request, frames: Mapping[str, pd.DataFrame]) -> Reading:
    return tables.read(
        frames,
        name=request.name,
        given=request.given,
        group=request.group,
        columns=request.options.columns,
        rounding=request.options.rounding or "bins",
    )


def _shakespeare(request: Request) -> Reading:
    written = decode(_file(request.name, "input.txt"))
    return text.read(text.pieces(written, request.options.width), name=request.name)


def _chunks(request: Request) -> Reading:
    """Words, their parts of speech, and the phrases that they begin, go on with or stand outside of."""
    files = {part: _file(request.name, f"{part}.txt") for part in ("train", "test")}
    return conll.read(files, name=request.name, names=("word", "pos"))


def _entities(request: Request) -> Reading:
    names = {
        "train": "wnut17train.conll",
        "valid": "emerging.dev.conll",
        "test": "emerging.test.annotated",
    }
    return conll.read(
        {part: _file(request.name, file) for part, file in names.items()}, name=request.name
    )


def _bags(file: str, vocabulary: str) -> Callable[[Request], Reading]:
    def read_one(request: Request) -> Reading:
        words = _file(request.name, vocabulary)
        return corpora.read_bags(_file(request.name, file), name=request.name, vocabulary=words)

    return read_one


def _archive(folder: str, title: str) -> Entry:
    get = f"{folder}_TRAIN.ts and {folder}_TEST.ts of the UCR and UEA archives"

    def read_one(request: Request) -> Reading:
        return tsfile.read(_file(request.name, f"{folder}_TRAIN.ts"), name=request.name)

    return Entry(title, read_one, get, places=(folder, f"ucr/{folder}"))


def _long(*files: str) -> Callable[[Request], Reading]:
    """One long series, a step a line."""
    return lambda request: read_frames(
        request.as_steps(), {"all": read_csv(_file(request.name, *files))}
    )


def _density(name: str, title: str) -> Entry:
    get = f"{name}.train.data, {name}.valid.data and {name}.test.data of the binary density estimation benchmark"
    return Entry(title, _binary, get, places=(name, f"binary_density/{name}"))


SETS: Mapping[str, Entry] = {
    "digits": Entry("1,797 digits of 8x8 pixels, 17 levels, 10 classes", _digits),
    "iris": Entry("150 irises, 4 lengths, 3 species", _bundled("load_iris", "species")),
    "wine": Entry("178 wines, 13 measurements, 3 cultivars", _bundled("load_wine", "cultivar")),
    "breast-cancer": Entry(
        "569 tumours, 30 measurements, 2 diagnoses", _bundled("load_breast_cancer", "diagnosis")
    ),
    "mnist": Entry(
        "70,000 digits of 28x28 pixels, 10 classes", _mnist, "the four idx .gz files of MNIST"
    ),
    "fashion-mnist": Entry(
        "70,000 garments of 28x28 pixels, 10 classes", _mnist, "Fashion-MNIST's four idx .gz files"
    ),
    "nltcs": _density("nltcs", "21,574 rows of 16 binary variables"),
    "plants": _density("plants", "23,215 rows of 69 binary variables"),
    "dna": _density("dna", "3,186 rows of 180 binary variables"),
    "adult": Entry(
        "48,842 people, 15 mixed columns",
        _adult,
        "adult.data and adult.test of the UCI repository",
        True,
    ),
    "titanic": Entry(
        "891 passengers, 12 mixed columns with gaps", _csv("train.csv"), "the table train.csv", True
    ),
    "california-housing": Entry(
        "20,640 districts, 10 mixed columns",
        _csv("housing.csv"),
        "the table housing.csv of the 1990 census",
        True,
        ("california-housing", "california_housing"),
    ),
    "conll2000": Entry(
        "10,948 sentences whose phrases are tagged", _chunks, "train.txt and test.txt of CoNLL-2000"
    ),
    "wnut17": Entry(
        "5,690 posts whose names are tagged",
        _entities,
        "the three files of the WNUT-17 shared task",
    ),
    "ap": Entry(
        "2,246 articles of the Associated Press as bags of 10,473 words",
        _bags("ap.dat", "vocab.txt"),
        "ap.dat and vocab.txt, the sample of LDA-C",
        places=("ap", "ap_lda"),
    ),
    "reuters": Entry(
        "395 Reuters articles as bags of 4,258 words",
        _bags("reuters.ldac", "reuters.tokens"),
        "reuters.ldac and reuters.tokens, the sample of the package lda",
        places=("reuters", "reuters_lda"),
    ),
    "etth1": Entry(
        "17,420 hours of a transformer's load and oil, 7 numbers an hour",
        _long("ETTh1.csv"),
        "ETTh1.csv of ETDataset",
        places=("ett", "etth1"),
    ),
    "exchange-rate": Entry(
        "7,588 days of 8 rates of exchange",
        _long("exchange_rate.txt.gz", "exchange_rate.txt"),
        "exchange_rate.txt.gz",
        places=("exchange_rate", "exchange-rate"),
    ),
    "italy-power-demand": _archive(
        "ItalyPowerDemand", "1,096 days of Italy's demand for power, 2 seasons"
    ),
    "gunpoint": _archive("GunPoint", "200 movements of a hand, with a gun or without"),
    "arrowhead": _archive("ArrowHead", "211 outlines of arrowheads, 3 classes"),
    "japanese-vowels": _archive("JapaneseVowels", "640 utterances, 12 numbers a step, 9 speakers"),
    "basic-motions": _archive("BasicMotions", "80 motions, 6 numbers a step, 4 classes"),
    "tinyshakespeare": Entry(
        "32,777 lines of Shakespeare", _shakespeare, "input.txt, the tiny Shakespeare text"
    ),
}
