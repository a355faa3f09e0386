"""MNIST by classes: one law for each digit on principal components, and digits with half of their pixels missing.

    LIKENESS_DATA=... python -m bench.classes [--case qda] ... [--directions 50]

Accuracy on all 10,000 test images: quadratic discriminant analysis and mixtures of 20 full Gaussians a class on the
posterior means of `pca` (the principal components; `floors` tries how wide they must be on a part of the training
images, `wide` takes the best), Gaussians of one covariance on pixels, and independent pixels of
two levels.
Then scikit-learn's 8x8 digits with half of the pixels hidden: classes integrated over what is missing, beside logistic
regression with means filled in.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

import likeness as lk
from likeness.api import load

VALID, FLOORS = 10_000, (1e-6, 0.003, 0.01, 0.03, 0.1, 0.3)


def accuracy(model: Any, x: np.ndarray, y: np.ndarray) -> float:
    best = np.asarray(model.classify(x).best)
    return float((best == y).mean())


def mnist() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Pixels from 0 to 1 and digits, of the training and of the test part."""
    data = load("mnist", given="label")
    parts = (data.train.batch, data.test.batch)
    images = [np.asarray(b.x.flatten(1)) / 255 for b in parts]
    labels = [np.asarray(b.given.x[:, 0]).astype(int) for b in parts if b.given is not None]
    return images[0], labels[0], images[1], labels[1]


def fitted(x: np.ndarray, y: np.ndarray, **options: Any) -> Any:
    return lk.fit(
        "discriminant",
        x,
        given=y.astype(str),
        holdout=0.0,
        progress=False,
        budget="500 steps",
        **options,
    )


def components(directions: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Principal components and digits, of the training and of the test part."""
    x, y, test, wanted = mnist()
    varied = x.std(0) > 0
    axes = lk.fit(
        "pca", x[:, varied], components=directions, scale=False, holdout=0.0, progress=False
    )
    codes = [np.asarray(axes.encode(part[:, varied]).mean) for part in (x, test)]
    return codes[0], y, codes[1], wanted


def on_components(options: dict[str, Any], directions: int) -> float:
    x, y, test, wanted = components(directions)
    return accuracy(fitted(x, y, **options), test, wanted)


def mixture(floor: float) -> dict[str, Any]:
    return {
        "density": {"family": "mixture", "components": 20, "covariance": "full", "floor": floor}
    }


def floors(directions: int) -> str:
    """How wide components must at least be, by the last 10,000 images of the training part."""
    x, y, _, _ = components(directions)
    found = {
        f: accuracy(fitted(x[:-VALID], y[:-VALID], **mixture(f)), x[-VALID:], y[-VALID:])
        for f in FLOORS
    }
    return ", ".join(f"{name:g}: {100 * value:.2f} %" for name, value in found.items())


def on_pixels(options: dict[str, Any]) -> float:
    x, y, test, wanted = mnist()
    varied = x.std(0) > 0
    return accuracy(fitted(x[:, varied], y, **options), test[:, varied], wanted)


def on_black_and_white() -> float:
    data = load("mnist", given="label", binarize="threshold")
    model = lk.fit("discriminant", data, kind="naive", holdout=0.0, progress=False)
    test = data.test.batch
    assert test.given is not None
    return float(
        (model.classify(test.given_as(None)).best == test.given.x[:, 0].long()).double().mean()
    )


def halved() -> str:
    """Digits with half of the pixels hidden: two ways of ours, and logistic regression on mended rows."""
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    train, test = order[:1400], order[1400:]
    hidden = np.random.default_rng(1).random(x[test].shape) < 0.5
    varied = x[train].std(0) > 0
    seen = np.where(hidden, np.nan, x[test])[:, varied]
    mended = np.where(hidden, x[train].mean(0), x[test])
    line = LogisticRegression(C=0.01, max_iter=5000).fit(x[train], y[train])
    laws = {
        "one covariance": {"kind": "lda"},
        "8 directions each": {"density": {"family": "pca", "components": 8, "scale": False}},
    }
    jitter = x[train] + 0.5 * np.random.default_rng(2).normal(
        size=x[train].shape
    )  # pixels that a digit never has
    found = {
        name: accuracy(fitted(jitter[:, varied], y[train], **o), seen, y[test])
        for name, o in laws.items()
    }
    found |= {"logistic, means filled in": float((line.predict(mended) == y[test]).mean()),
              "logistic, nothing missing": float((line.predict(x[test]) == y[test]).mean())}  # fmt: skip
    return ", ".join(f"{name} {100 * value:.1f} %" for name, value in found.items())


CASES: dict[str, Callable[[int], float | str]] = {
    "qda": lambda q: on_components({"kind": "qda"}, q),
    "mixture": lambda q: on_components(mixture(1e-6), q),
    "floors": floors,
    "wide": lambda q: on_components(mixture(0.1), q),
    "lda": lambda _: on_pixels({"kind": "lda"}),
    "naive": lambda _: on_black_and_white(),
    "halved": lambda _: halved(),
}


def main() -> None:
    """Run the cases that were named, or all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--case", action="append", choices=[*CASES])
    parser.add_argument("--directions", type=int, default=50)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for name in asked.case or CASES:
        begun = time.process_time()
        found = CASES[name](asked.directions)
        said = f"{100 * found:.2f} %" if isinstance(found, float) else found
        print(f"{name:10} {said}   ({time.process_time() - begun:.0f} s of processor)", flush=True)


if __name__ == "__main__":
    main()
