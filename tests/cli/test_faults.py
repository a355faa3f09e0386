"""What goes wrong ends in one sentence on stderr and a non-zero exit, with nothing lost and nothing half-written."""

import errno
import json
import os
import resource
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from likeness.cli import app

GOOD = "a,b\n" + "".join(
    f"{(i * 7919 % 101) * 0.11:.3f},{(i * 104729 % 97) * 0.37:.3f}\n" for i in range(60)
)


def column(cells) -> str:
    return "a,b\n" + "".join(f"{c},{i * 0.37:.2f}\n" for i, c in enumerate(cells))


def numbers(wrong: str, at: int = 7) -> list[str]:
    return [wrong if i == at else f"{i * 0.11:.2f}" for i in range(30)]


def refused(said, *words: str, code: int = 1) -> None:
    """One sentence, the exit code, no traceback."""
    assert said.code == code
    errors = [line for line in said.err.splitlines() if not line.startswith(("note:", "mean "))]
    assert len(errors) == 1, said.err
    assert errors[0].startswith("error: ")
    assert "unforeseen" not in errors[0]
    for word in words:
        assert word in errors[0]


@pytest.fixture(scope="module")
def model(cli, tmp_path_factory):
    """A Gaussian over two columns, and its data."""
    folder = tmp_path_factory.mktemp("faults")
    (folder / "good.csv").write_text(GOOD)
    assert cli(f"fit {folder / 'good.csv'} gaussian --out {folder / 'model'}").code == 0
    return folder / "model"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["the file is empty"]),
        ("a,b\n", ["no rows"]),
        ("a,b\n1,2\n", ["one row alone"]),
        (column(["1.5"] * 30), ["one value in all rows of 'a'", "--columns a=skip"]),
        (column(["7"] * 30), ["one value in all rows of 'a'", "--columns a=skip"]),
        (column([""] * 30), ["'a' holds nothing but missing values", "--columns a=skip"]),
        (column(numbers("inf")), ["infinite", "data row 8", "'a'"]),
        (
            column(numbers("oops")),
            ["'oops' is not a number", "data row 8", "'a'", "--columns a=nominal"],
        ),
        ("a,b\n1,2\n1,2,3\n", ["line 3 has 3 cells where 2"]),
        ("a,a\n1,2\n3,4\n", ["two columns are called 'a'"]),
    ],
)
def test_data_that_cannot_be_learned_from(cli, tmp_path, text, words):
    (tmp_path / "bad.csv").write_text(text)
    said = cli(f"fit {tmp_path / 'bad.csv'} gaussian --out {tmp_path / 'model'}")
    refused(said, *words)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.csv"]


def test_an_unreadable_image_is_named(cli, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for k in range(4):
        Image.fromarray(np.full((4, 4), k * 60, np.uint8)).save(folder / f"{k}.png")
    (folder / "2.png").write_bytes((folder / "2.png").read_bytes()[:40])
    refused(cli(f"fit {folder} independent --out {tmp_path / 'model'}"), "2.png")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a\n1\n2\n", ["no column 'b'"]),
        ("a,b\n1,oops\n", ["'oops' is not a number", "data row 1", "'b'"]),
        ("a,b\n1,inf\n", ["inf", "data row 1", "'b'"]),
        ("", ["the file is empty"]),
    ],
)
def test_rows_that_cannot_be_scored(cli, model, tmp_path, text, words):
    (tmp_path / "rows.csv").write_text(text)
    refused(cli(f"score {model} {tmp_path / 'rows.csv'} --out {tmp_path / 'out.csv'}"), *words)
    assert not (tmp_path / "out.csv").exists()


def test_arrays_of_another_shape_are_refused(cli, model, tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((3, 5)))
    refused(cli(f"score {model} {tmp_path / 'x.npy'}"), "items of shape 5 where 2 is expected")


def test_an_unknown_label_is_named_with_its_neighbour(cli, fitted, people, tmp_path):
    folder, _ = fitted
    lines = people.read_text().splitlines()
    at = next(i for i, line in enumerate(lines) if "Bern" in line)
    lines[at] = lines[at].replace("Bern", "Berne")
    (tmp_path / "rows.csv").write_text("\n".join(lines) + "\n")
    said = cli(f"score {folder} {tmp_path / 'rows.csv'}")
    refused(said, "'Berne'", f"data row {at}", "'city'", "did you mean 'Bern'")


# ---- saved models ----------------------------------------------------------------------------------------------------


def truncate(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-20])


def tamper(folder):
    config = json.loads((folder / "config.json").read_text())
    config["objective"]["shrinkage"] = 0.5
    (folder / "config.json").write_text(json.dumps(config))


def halve(folder):
    path = folder / "config.json"
    path.write_text(path.read_text()[:100])


def other(folder):
    (folder / "config.json").write_text("[]")


def lose(folder):
    (folder / "model.safetensors").unlink()


@pytest.mark.parametrize(
    ("hurt", "words"),
    [
        (truncate, ["truncated"]),
        (tamper, ["config.json was changed"]),
        (halve, ["not JSON"]),
        (other, ["config.json"]),
        (lose, ["no such file"]),
    ],
)
def test_a_damaged_model_is_refused(cli, model, tmp_path, hurt, words):
    shutil.copytree(model, tmp_path / "model")
    hurt(tmp_path / "model")
    refused(cli(f"sample {tmp_path / 'model'}"), *words)


def test_a_folder_without_model_names_the_nearest(cli, model):
    refused(cli(f"show {model}l"), "there is no model here", f"did you mean '{model}'")


# ---- places ----------------------------------------------------------------------------------------------------------


def test_a_model_is_not_overwritten_unasked(cli, model):
    before = (model / "config.json").read_bytes()
    data = model.parent / "good.csv"
    refused(
        cli(f"fit {data} gaussian shrinkage=0.2 --out {model}"),
        "a model is here already",
        "--overwrite",
        code=2,
    )
    assert (model / "config.json").read_bytes() == before


def test_an_answer_does_not_take_the_place_of_the_data(cli, model, tmp_path):
    (tmp_path / "good.csv").write_text(GOOD)
    refused(
        cli(f"score {model} {tmp_path / 'good.csv'} --out {tmp_path / 'good.csv'}"),
        "place of the data",
        code=2,
    )
    assert (tmp_path / "good.csv").read_text() == GOOD


@pytest.mark.parametrize("suffix", ["csv", "npy", "parquet", "png"])
def test_a_full_disk_leaves_what_was_there(cli, model, tmp_path, monkeypatch, suffix):
    out = tmp_path / f"samples.{suffix}"
    out.write_bytes(b"before")

    def full(self, target):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("pathlib.Path.replace", full)
    refused(cli(f"sample {model} --seed 0 --out {out}"), "no space left on device", str(out))
    assert out.read_bytes() == b"before"
    assert [p.name for p in tmp_path.iterdir()] == [out.name]


def test_a_disk_that_fills_while_a_model_is_saved(cli, tmp_path, monkeypatch):
    (tmp_path / "good.csv").write_text(GOOD)

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    said = cli(f"fit {tmp_path / 'good.csv'} gaussian --out {tmp_path / 'model'}")
    refused(said, "no space left on device")
    assert not [p.name for p in (tmp_path / "model").iterdir() if p.name != "metrics.jsonl"]


def test_a_limit_on_file_size_in_a_process_of_its_own(model, tmp_path):
    out = tmp_path / "samples.csv"
    done = subprocess.run(
        [sys.executable, "-m", "likeness", "sample", str(model), "-n", "2000", "--out", str(out)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)),
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: nothing was written: file too large")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_what_is_unforeseen_says_so_and_debug_shows_it(cli, model, monkeypatch):
    def broken(*_args, **_kwargs):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("likeness.cli.rows.open_model", broken)
    said = cli(f"sample {model}")
    assert said.code == 1
    assert said.err.startswith(
        "error: unforeseen: ZeroDivisionError: division by zero; please report it"
    )
    assert said.err.count("\n") == 1
    assert isinstance(
        CliRunner().invoke(app, ["--debug", "sample", str(model)]).exception, ZeroDivisionError
    )
