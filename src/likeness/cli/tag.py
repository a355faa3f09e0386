"""`likeness tag`: the labels of sentences, written behind their words; all else stays as it was written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from likeness.cli import output, rows
from likeness.cli.arguments import Device, MaxMemory, Model, Out, SettingsWords
from likeness.cli.text import remark
from likeness.core.errors import BadData, Unsupported
from likeness.core.files import whole
from likeness.core.words import plural

if TYPE_CHECKING:
    from likeness.core.batch import Batch
    from likeness.core.model import Model as Fitted
    from likeness.data.conllfile import TaggedFile

SUFFIXES = (".conll", ".conllu", ".iob", ".bio", ".txt", ".tsv")


def tag(
    model: Model,
    data: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="A word a line, its columns, an empty line between sentences."
        ),
    ],
    out: Out = None,
    probabilities: Annotated[
        bool,
        typer.Option(
            "--probabilities", help="Behind each label a column for every label: its probability."
        ),
    ] = False,
    beside: Annotated[
        bool,
        typer.Option(
            "--beside",
            help="Tell known labels again, in a column behind them, and count the right.",
        ),
    ] = False,
    settings: SettingsWords = None,
    max_memory: MaxMemory = None,
    device: Device = "cpu",
) -> None:
    """Label the words of sentences.

    By the most probable labels of each sentence together, given the labels that it has. A label is
    missing where its column is left out, or holds _ or ?.

    likeness tag runs/crf untagged.conll --out tagged.conll
    """
    output.check(out, tuple({*SUFFIXES, _bare(data).suffix.lower()}), source=str(data))
    fitted = rows.open_model(model, device)
    asked = rows.settings(fitted, settings)
    _able(fitted, probabilities)
    file, batch = _read(fitted, data)
    hidden = _hidden(batch, data, beside)
    best = fitted.mode(hidden, given=hidden.given, settings=asked)
    columns = [[label] for label in _words(fitted, best.batch)]
    if probabilities:
        law = fitted.encode(hidden, given=hidden.given, settings=asked)
        columns = [a + b for a, b in zip(columns, _chances(fitted, law, hidden), strict=True)]
    _tell(batch, hidden, best, data)
    _write(_text(fitted, file, columns, beside), data, out)


def _bare(path: Path) -> Path:
    """The path without .gz: what is written is not compressed."""
    if path.suffix.lower() == ".gz":
        return path.with_suffix("")
    return path


def _able(model: Fitted, probabilities: bool) -> None:
    """Refuse models that tell no labels of sentences."""
    if model.space.source != "tags" or model.given_space is None:
        raise Unsupported(
            "this model did not learn to tag", do="fit one: likeness fit tagged.conll crf"
        )
    for verb in ("mode", *(("encode",) if probabilities else ())):
        able = model.support(verb)
        if not able:
            raise Unsupported(able.why)


def _read(model: Fitted, path: Path) -> tuple[TaggedFile, Batch]:
    """The file, and what the model reads in it; remarks on what is read as something else."""
    from likeness.data import conll, paths
    from likeness.data.source import Loud

    file, batch = conll.file_for(model.space, model.given_space, paths.exists(path))
    for note in Loud.among(file.notes):
        remark(f"note: {note}")
    return file, batch


def _hidden(batch: Batch, path: Path, beside: bool) -> Batch:
    """The sentences with the labels hidden that are to be told.

    Raises:
        BadData: If none is missing, or none is known to be told again.
    """
    if beside and not bool(batch.present.any()):
        raise BadData("no label is known", where=str(path), do="leave --beside out")
    if not beside and batch.full:
        raise BadData(
            "every word has its label", where=str(path), do="tell them again with --beside"
        )
    if beside:
        return batch.hide(batch.present)
    return batch


def _words(model: Fitted, batch: Batch) -> Iterator[str]:
    """The label of each word, one sentence after the other."""
    labels = rows.labels_of(model.space)
    for sentence, length in zip(batch.x, batch.lengths.tolist(), strict=True):
        yield from (labels[int(code)] for code in sentence[:length].tolist())


def _chances(model: Fitted, law: Any, batch: Batch) -> Iterator[list[str]]:
    """Every label with its probability, for each word."""
    labels = rows.labels_of(model.space)
    for sentence, length in zip(law.mean, batch.lengths.tolist(), strict=True):
        for chances in sentence[:length].tolist():
            yield [f"{label}={chance:.4f}" for label, chance in zip(labels, chances, strict=True)]


def _tell(batch: Batch, hidden: Batch, best: Any, path: Path) -> None:
    told = int(hidden.holes.sum())
    remark(
        f"{plural(told, 'label')} of {plural(len(batch), 'sentence')} told: {best.how} ({best.kind})"
    )
    known = batch.present & hidden.holes
    if bool(known.any()):
        right = (best.batch.x.cpu() == batch.x)[known].double()
        remark(
            f"accuracy {float(right.mean()):.4f} over {plural(len(right), 'word')} whose label is known"
        )


def _text(model: Fitted, file: TaggedFile, columns: Sequence[Sequence[str]], beside: bool) -> str:
    from likeness.data import conll

    own = len(model.condition_space.variables) - len(conll.SPELT)
    return file.tagged(columns, own + beside)


def _write(text: str, data: Path, out: Path | None) -> None:
    """The text to stdout, or to a file in the encoding of the data, byte-order mark included."""
    from likeness.data.textfile import encode

    if out is None:
        typer.echo(text, nl=False)
        return
    with whole(out) as partial:
        partial.write_bytes(encode(text, data))
    remark(f"written to {out}")
