"""After a fit: its held-out score, where it was saved, and what to ask next."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from likeness.cli.errors import spoken
from likeness.cli.text import say
from likeness.core.errors import Unsupported
from likeness.core.words import copies_in_words, plural

if TYPE_CHECKING:
    from likeness.core.batch import Batch
    from likeness.core.model import Model
    from likeness.data.source import Source, Table
    from likeness.learn.run import Run

SCORED = 1000  # rows
AUDITED = 400  # held-out rows that draws are laid beside, and how many tell anything
FEWEST_AUDITED = 20
MOST_TRAINING = 20_000  # training rows that draws are compared with, evenly spaced
OWN_SCORE = "-log p"
Score = dict[str, Any]


def held_out_score(model: Model, run: Run | None, test: Table, seed: int) -> Score | None:
    """The mean of log p over rows that were not learned from, its kind and its standard error; None without such rows.

    Families without log p are scored by the criterion that their training is validated by, where
    smaller is better.
    """
    import torch

    held = None if run is None else run.held
    source = test if len(test) else held
    if source is None:
        return None
    batch = source.rows(torch.arange(min(SCORED, len(source))))
    chose = not len(test) and run is not None and run.best.state is not None
    try:
        if model.support("log_prob"):
            found = _log_p(model, batch, seed)
        else:
            found = _criterion(model, batch, seed)
    except Unsupported as why:
        return {"why": str(why)}
    return {**found, "rows": len(batch), "chose": chose}


def _log_p(model: Model, batch: Batch, seed: int) -> Score:
    answer = model.log_prob(batch, given=batch.given, seed=seed)
    mean = answer.mean()
    found: Score = {
        "name": "log p",
        "value": mean.value,
        "stderr": mean.stderr,
        "kind": str(mean.kind),
        "how": answer.how,
        "measure": mean.measure,
    }
    if "lebesgue" not in mean.measure:
        found["bits_per_dim"] = float(answer.bits_per_dim.double().mean())
    return found


def _criterion(model: Model, batch: Batch, seed: int) -> Score:
    import torch

    from likeness.core.noise import Noise

    there = model.held(batch)
    with torch.no_grad(), model.asking():
        values = model.criterion(
            there, Noise(seed, there.ids, scope="validate", dtype=model.dtype)
        ).double()
    if len(values) > 1:
        spread = float(values.std()) / math.sqrt(len(values))
    else:
        spread = math.nan
    return {
        "name": model.kind_of_criterion(),
        "value": float(values.mean()),
        "stderr": spread,
        "kind": "estimate",
        "how": "there is no log p; smaller is better",
    }


def copies(model: Model, run: Run | None, seed: int) -> Score | None:
    """Whether draws repeat training rows more often than held-out rows do; None where nothing can tell."""
    import torch

    from likeness.core.errors import LikenessError
    from likeness.evaluate.scores import copied
    from likeness.learn.scoring import evenly

    if (
        run is None
        or run.held is None
        or len(run.held) < FEWEST_AUDITED
        or not model.support("sample")
    ):
        return None
    held = run.held.rows(torch.arange(min(AUDITED, len(run.held))))
    train = cast("Source", run.task.source)
    try:
        found = copied(model, train.take(evenly(len(train), MOST_TRAINING)), held, seed)
    except LikenessError:
        return None
    shares = {
        "duplicates": found.duplicates.value,
        "duplicates_held_out": found.duplicates_held_out.value,
    }
    return {**shares, "p_value": found.copies_p_value, "draws": len(held), "copies": found.copies}


def keep(
    model: Model, place: Path, score: Score | None, audit: Score | None, notes: Sequence[str]
) -> None:
    """Save the model once more, with its score, its audit and what was inferred of the data."""
    from likeness import __version__
    from likeness.registry import store

    told = {"score": score, "copies": audit, "notes": list(notes), "version": __version__}
    model.facts = {**model.facts, **told}
    store.save(model, place)


def words(score: Score) -> str:
    """A held-out score in one line."""
    if "why" in score:
        return f"no held-out score: {spoken(score['why'])}"
    unit = " nats a row" if score["name"] == "log p" else ""
    if math.isnan(score["stderr"]):
        spread = ""
    else:
        spread = f" ± {score['stderr']:.3f}"
    if "bits_per_dim" in score:
        bits = f", {score['bits_per_dim']:.4f} bits a dimension"
    else:
        bits = ""
    if score["chose"]:
        chose = ", which also chose the best step"
    else:
        chose = ""
    return (
        f"held out: {score['name']} {score['value']:.3f}{spread}{unit} ({score['kind']}: {score['how']}){bits}, "
        f"over {plural(score['rows'], 'row')}{chose}"
    )


def tell(
    model: Model, place: Path, score: Score | None, audit: Score | None, data: str, *, holes: bool
) -> None:
    """The score, the audit, the place, and the next commands to try."""
    say(words(score) if score else "nothing was held out, so there is no score")
    if audit is not None:
        say(copies_in_words(audit))
    for remark in model.facts.get("remarks", ()):
        say(remark)
    steps = plural(int(model.facts["iterations"]), "step")
    if model.count():
        size = f"{plural(model.count(), 'parameter')}, "
    else:
        size = ""
    say(f"saved in {place} ({size}{steps})")
    say("next:")
    for command in _next(model, place, data, holes):
        say(f"  {command}")


def _next(model: Model, place: Path, data: str, holes: bool) -> Iterator[str]:
    table = model.space.flat
    here = shlex.quote(str(place))
    source = shlex.quote(data)
    yield f"likeness show {here}"
    if model.support("sample") and model.space.source != "tags":
        yield f"likeness sample {here} -n {5 if table else 64}{'' if table else ' --out samples' + _suffix(model)}"
    if model.support("log_prob") or model.support("anomaly_score"):
        yield f"likeness score {here} {source} --out scores.csv"
    if table and holes and model.support("complete"):
        yield f"likeness complete {here} {source} --out completed.csv"
    if model.support("classify"):
        yield f"likeness classify {here} {source} --out classes.csv"
    if model.space.source == "words" and model.support("encode"):
        yield f"likeness encode {here} {source} --out codes.csv"
    if model.space.source == "tags" and model.support("mode"):
        yield f"likeness tag {here} untagged.conll --out tagged.conll"
    if (
        model.unbounded
        and model.support("forecast")
        and model.space.source not in {"words", "tags"}
    ):
        yield f"likeness forecast {here} {source} --steps 24 --out forecast.csv"


def _suffix(model: Model) -> str:
    if model.space.ragged and model.space.source == "table":
        return ".csv"
    return {"image": ".png", "text": ".txt", "words": ".txt", "audio": ".wav"}.get(
        model.space.source or "", ".npy"
    )
