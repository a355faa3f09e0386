"""SIGKILL at any moment, also while a checkpoint is written: a resumed run ends with the same bits.

One warm process that never computes forks a child for every attempt, so that an attempt costs milliseconds rather than
the seconds that imports take: `python tests/learn/test_sigkill.py` is that process, orders and answers one JSON a line.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import random
import signal
import subprocess
import sys
import time
import traceback
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch

KILLS, MOST_ATTEMPTS = 20, 400
GRADIENT = {"batch": 64, "ema": 0.99}
SMALL_FLOW = {"layers": 2, "hidden": [16], "bins": 4, **GRADIENT}
# Name of the case: family, options, steps, kind of condition.
CASES: dict[str, tuple[str, dict[str, Any], int, str]] = {
    "independent": ("independent", {"real": "mixture"}, 60, "none"),
    "independent of a vector": ("independent", {"real": "normal"}, 60, "vector"),
    "gaussian": ("gaussian", {}, 200, "none"),
    "mixture": ("mixture", {"components": 6, "restarts": 2}, 100, "none"),
    "autoregressive": (
        "autoregressive",
        {"hidden": [32], "components": 3, **GRADIENT},
        80,
        "label",
    ),
    "vae": (
        "vae",
        {"latent": 3, "hidden": [32], "effort": 8, "components": 1, **GRADIENT},
        80,
        "label",
    ),
    "vae with a flow as its prior": (
        "vae",
        {
            "latent": 2,
            "hidden": [16],
            "effort": 4,
            "prior": {"family": "flow", **SMALL_FLOW},
            **GRADIENT,
        },
        80,
        "none",
    ),
    "gan": ("gan", {"hidden": [32], **GRADIENT}, 40, "label"),
    "flow": ("flow", SMALL_FLOW, 60, "label"),
    "diffusion": (
        "diffusion",
        {"width": 16, "depth": 1, "steps": 4, "net": "mlp", **GRADIENT},
        80,
        "label",
    ),
}
IMPORTED = (
    "likeness.api",
    "torch._dynamo",
    "rich.progress",
)  # what a first fit, and a first step, import
PLACES = ("half written", "written", "synced", "renamed")


@dataclass(frozen=True)
class Attempt:
    """One process's attempt at a fit.

    Args:
        case: Which.
        folder: Where checkpoints and the model go.
        saving: Whether every step is followed by a checkpoint.
        after: Seconds until it is killed from outside, or None.
        tear: (the number of the file being written, where in the writing) of a death by its own hand, or None.
    """

    case: str
    folder: str
    saving: bool = True
    after: float | None = None
    tear: tuple[int, str] | None = field(default=None)


# ---- the nursery ---------------------------------------------------------------------------------------------------


def nursery() -> None:
    """Fork a child for every order; answer how it ended and after how many seconds."""
    from likeness import registry

    registry.load_all()
    for name in IMPORTED:
        importlib.import_module(name)
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        order = Attempt(**json.loads(line))
        begun = time.monotonic()
        pid = os.fork()
        if pid == 0:
            _live(order)
        if order.after is not None:
            time.sleep(order.after)
            os.kill(
                pid, signal.SIGKILL
            )  # a child that has ended is not reaped yet: the number is still its own
        _, status = os.waitpid(pid, 0)
        print(json.dumps([os.waitstatus_to_exitcode(status), time.monotonic() - begun]), flush=True)


def _live(order: Attempt) -> None:
    """Fit, resuming where the folder has a checkpoint, and never return."""
    code = 1
    try:
        _fit(order)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _fit(order: Attempt) -> None:
    from likeness.api import fit
    from likeness.learn import run

    torch.set_num_threads(1)
    run.SAVE_EVERY = -1.0 if order.saving else 1e9
    if order.tear is not None:
        _arm(*order.tear)
    family, options, steps, given = CASES[order.case]
    fit(
        family,
        rows(given),
        budget=steps,
        seed=5,
        out=order.folder,
        resume=True,
        progress=False,
        **options,
    )


def rows(given: str):
    """Three reals, every fifth hidden, that depend on what is given."""
    from likeness.core.batch import Batch
    from likeness.core.space import label, vector
    from likeness.data.source import Table

    g = torch.Generator().manual_seed(0)
    x = torch.randn(600, 3, generator=g, dtype=torch.float64) @ torch.randn(
        3, 3, generator=g, dtype=torch.float64
    )
    hidden = torch.rand(600, 3, generator=g) < 0.2
    spaces = {"none": None, "label": label(3), "vector": vector(3)}
    told = {
        "label": torch.randint(3, (600, 1), generator=g).double(),
        "vector": torch.randn(600, 3, generator=g),
    }
    condition = told[given].double() if given in told else None
    x = x if condition is None else x + condition
    batch = Batch(x, given=None if condition is None else Batch(condition)).hide(hidden)
    return Table(vector(3), batch, spaces[given])


def _arm(number: int, place: str) -> None:
    """Die by SIGKILL at that place of the writing of the file of that number, counted from 1."""
    written = 0
    sync, rename, opened = os.fsync, Path.replace, Path.open

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    class Torn:
        """A file of which half is written when its writer dies."""

        def __init__(self, file: Any) -> None:
            self.file = file

        def __enter__(self) -> Torn:
            return self

        def __exit__(self, *error: object) -> None:
            self.file.close()

        def write(self, data: bytes) -> None:
            self.file.write(data[: len(data) // 2])
            self.file.flush()
            die()

    def patched_open(path: Path, *args: Any, **options: Any) -> Any:
        nonlocal written
        file = opened(path, *args, **options)
        if path.suffix != ".partial":
            return file
        written += 1
        return Torn(file) if written == number and place == "half written" else file

    def patched_sync(file: int) -> None:
        if written == number and place == "written":
            die()
        sync(file)

    def patched_replace(path: Path, target: Path) -> Path:
        if written == number and place == "synced":
            die()
        done = rename(path, target)
        if written == number and place == "renamed":
            die()
        return done

    os.fsync, Path.replace, Path.open = patched_sync, patched_replace, patched_open  # type: ignore[method-assign]


# ---- the tests -----------------------------------------------------------------------------------------------------


class Nursery:
    """The warm process, from the tests' side."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert self._answer() == "ready"

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the warm process died"
        return json.loads(line)

    def __call__(self, order: Attempt) -> tuple[bool, float]:
        """Whether the child was killed, and how long it lived."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(asdict(order)) + "\n")
        self.process.stdin.flush()
        code, seconds = self._answer()
        assert code in (0, -signal.SIGKILL), f"a child ended with {code}: see its traceback"
        return code != 0, seconds

    def close(self) -> None:
        """End it."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


@pytest.fixture(scope="module")
def nursed():
    warm = Nursery()
    yield warm
    warm.close()


def left(folder: Path) -> dict[str, str]:
    """A hash of what is in every file that a finished fit leaves (a safetensors file's own keys lie in any order)."""
    return {
        p.name: _weights(p) if p.suffix == ".safetensors" else _text(p) for p in folder.iterdir()
    }


def _weights(path: Path) -> str:
    from likeness.registry.reading import unpack
    from likeness.registry.store import digest

    return digest(unpack(path)[0])


def _text(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_killed_run_ends_with_the_same_bits(tmp_path, nursed, case, record_property):
    chance = random.Random(f"kills of {case}")
    killed, _ = nursed(Attempt(case, str(tmp_path / "whole"), saving=False))
    truth = left(tmp_path / "whole")
    assert not killed
    assert set(truth) == {"config.json", "model.safetensors", "card.md", "metrics.jsonl"}
    lasts = nursed(Attempt(case, str(tmp_path / "saved")))[1]
    assert left(tmp_path / "saved") == truth
    files = (
        len((tmp_path / "saved" / "metrics.jsonl").read_text().splitlines()) + 2
    )  # a checkpoint a step, then 3
    count = {"from outside": 0, **dict.fromkeys(PLACES, 0)}
    attempts, folder = 0, tmp_path / "killed 0"
    while sum(count.values()) < KILLS:
        attempts += 1
        assert attempts < MOST_ATTEMPTS, f"only {count} of {KILLS} kills came in time"
        order = Attempt(case, str(folder))
        where = PLACES[attempts % 8 // 2] if attempts % 2 else "from outside"
        if where == "from outside":
            killed, _ = nursed(replace(order, after=chance.uniform(0, lasts)))
        else:
            killed, _ = nursed(replace(order, tear=(chance.randint(1, files), where)))
        count[where] += killed
        if (
            not killed
        ):  # it came to its end first: these bits count, and the next kill finds a new folder
            assert left(folder) == truth
            folder = tmp_path / f"killed {attempts}"
    killed, _ = nursed(Attempt(case, str(folder)))
    assert not killed
    assert left(folder) == truth
    assert all(count.values()), f"kills fell elsewhere: {count}"
    record_property("kills", json.dumps(count))
    print(f"{case}: {count}, {lasts:.2f} s alone")


if __name__ == "__main__":
    nursery()
