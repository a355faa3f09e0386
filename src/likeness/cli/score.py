"""`likeness score`, `encode` and `classify`: one row of answer for each row of data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from likeness.cli import output, rows
from likeness.cli.arguments import (
    Device,
    Effort,
    Keep,
    MaxMemory,
    Model,
    Out,
    Route,
    Rows,
    SafeCsv,
    Seed,
    Series,
    SettingsWords,
)
from likeness.cli.text import remark
from likeness.core.errors import BadConfig, Unsupported
from likeness.core.words import plural

if TYPE_CHECKING:
    import pandas as pd

    from likeness.core.answers import Posterior
    from likeness.core.batch import Batch
    from likeness.core.model import Model as Fitted
    from likeness.core.row_distribution import RowDistribution


def score(
    model: Model,
    data: Rows,
    out: Out = None,
    route: Route = None,
    effort: Effort = None,
    seed: Seed = None,
    series: Series = None,
    settings: SettingsWords = None,
    keep: Keep = False,
    max_memory: MaxMemory = None,
    safe_csv: SafeCsv = False,
    device: Device = "cpu",
) -> None:
    """Say how likely and how strange each row is.

    log_prob in nats with its kind and standard error, an anomaly score, and a p-value against
    held-out rows.

    likeness score runs/flow new.csv --out scores.csv
    """
    output.check(out, source=data)
    fitted = rows.open_model(model, device)
    _keepable(fitted, keep)
    asked = rows.settings(fitted, settings)
    found = rows.read_rows(fitted, data, series=series)
    answer = {
        **_log_prob(fitted, found, effort, seed, asked),
        **_strange(fitted, found, route, seed, asked),
    }
    _emit(answer, found, fitted, out, keep)


def _log_prob(
    model: Fitted, found: rows.Rows, effort: int | None, seed: int | None, asked: Any
) -> dict[str, Any]:
    able = model.support("log_prob")
    if not able:
        remark(f"note: no log_prob: {able.why}")
        return {}
    answer = model.log_prob(
        found.batch, given=found.batch.given, effort=effort, seed=seed, settings=asked
    )
    remark(f"log_prob {answer.mean()}, against {answer.measure}: {answer.how}")
    if answer.stderr is None:
        stderr = None
    else:
        stderr = _numbers(answer.stderr)
    return {"log_prob": _numbers(answer.value), "kind": str(answer.kind), "stderr": stderr}


def _strange(
    model: Fitted, found: rows.Rows, route: str | None, seed: int | None, asked: Any
) -> dict[str, Any]:
    """An anomaly score by the route that was asked for, and the p-value of the default one."""
    able = model.support("anomaly_score")
    if not able:
        if not model.support("log_prob"):
            raise Unsupported(f"this model cannot score: {able.why}")
        remark(f"note: no anomaly score: {able.why}")
        return {}
    how = {"given": found.batch.given, "seed": seed, "settings": asked}
    strange = {"anomaly_score": _numbers(model.anomaly_score(found.batch, route=route, **how))}
    remark(
        f"anomaly_score by {route or able.routes[0]} (larger is stranger); routes: {', '.join(able.routes)}"
    )
    ranked = model.support("p_value")
    if not ranked:
        alone = model.facts.get("data", {}).get("rows") == 1
        if alone:
            why = "it learned from one series: there are none to rank among"
        else:
            why = ranked.why
        remark(f"note: no p_value: {why}")
        return strange
    if route is not None and route != able.routes[0]:
        remark(f"note: no p_value: held-out scores are by {able.routes[0]}")
        return strange
    return {**strange, "p_value": _numbers(model.p_value(found.batch, **how))}


def encode(
    model: Model,
    data: Rows,
    out: Out = None,
    effort: Effort = None,
    seed: Seed = None,
    series: Series = None,
    settings: SettingsWords = None,
    keep: Keep = False,
    max_memory: MaxMemory = None,
    safe_csv: SafeCsv = False,
    device: Device = "cpu",
) -> None:
    """Say what each row is made of.

    Its latent numbers, or the probability of each component.

    likeness encode runs/vae data.csv --out codes.csv
    """
    output.check(out, source=data)
    fitted = rows.open_model(model, device)
    _keepable(fitted, keep)
    asked = rows.settings(fitted, settings)
    found = rows.read_rows(fitted, data, series=series)
    law = fitted.encode(
        found.batch, given=found.batch.given, effort=effort, seed=seed, settings=asked
    )
    remark(f"codes: {law.how} ({law.kind})")
    if law.space.axes[0] == "time":
        output.emit(_by_step(law, found), out)
        return
    mean = _numbers(law.mean.flatten(1))
    if law.space.label is not None:
        answer = {"code": _numbers(law.mode.flatten()).astype(int)}
        answer |= {f"p_{name}": mean[:, k] for k, name in enumerate(rows.labels_of(law.space))}
    else:
        names = law.space.names or tuple(f"z{k}" for k in range(mean.shape[1]))
        answer = dict(zip(names, mean.T, strict=True))
    _emit(answer, found, fitted, out, keep)


def _by_step(law: RowDistribution, found: rows.Rows) -> pd.DataFrame:
    """A row for each step: its state or label with the probability of each, or its hidden numbers."""
    import pandas as pd

    inside = _within(found.batch)
    row, step = inside.nonzero()
    mean = _numbers(law.mean)[:, : inside.shape[1]][inside]
    if law.space.discrete:
        names = rows.labels_of(law.space)
        best = _numbers(law.mode)[:, : inside.shape[1]][inside].astype(int)
        codes = {
            "code": [names[k] for k in best],
            **{f"p_{name}": mean[:, k] for k, name in enumerate(names)},
        }
    else:
        codes = {f"z{k}": mean[:, k] for k in range(mean.shape[1])}
    codes = {"step": step, **codes}
    if found.names is None:
        head = {"row": row}
    else:
        head = {_key(found, codes): found.names[row]}
    return pd.DataFrame({**head, **codes})


def _key(found: rows.Rows, answer: Mapping[str, Any]) -> str:
    """What the column of the series' names is called: as in the file, unless the answer has such a column."""
    from likeness.data.frames import free

    return free(str(found.key), answer)


def _within(batch: Batch) -> Any:
    """Which steps lie within their item, (B, T)."""
    inside = batch.within
    steps = _numbers(batch.present | True if inside is None else inside)
    return steps.reshape(*steps.shape[:2], -1)[..., 0]


def classify(
    model: Model,
    data: Rows,
    out: Out = None,
    route: Route = None,
    effort: Effort = None,
    seed: Seed = None,
    series: Series = None,
    settings: SettingsWords = None,
    keep: Keep = False,
    max_memory: MaxMemory = None,
    safe_csv: SafeCsv = False,
    device: Device = "cpu",
) -> None:
    """Say which class each row is of.

    With the probability of every class, by a model that was fitted with --given LABEL.

    likeness classify runs/flow new.csv --out classes.csv
    """
    output.check(out, source=data)
    fitted = rows.open_model(model, device)
    _keepable(fitted, keep)
    asked = rows.settings(fitted, settings)
    able = fitted.support("classify")
    if not able:
        raise Unsupported(able.why)
    found = rows.read_rows(fitted, data, needs_given=False, series=series)
    answer = fitted.classify(found.batch, effort=effort, seed=seed, route=route, settings=asked)
    names = answer.labels or rows.labels_of(fitted.condition_space)
    best = [names[k] for k in answer.best.tolist()]
    chances = _numbers(answer.probabilities)
    remark(f"classes: {answer.how} ({answer.kind})")
    _accuracy(answer, found)
    label = (fitted.condition_space.names or ("label",))[0]
    columns = {
        f"predicted_{label}": best,
        **{f"p_{name}": chances[:, k] for k, name in enumerate(names)},
    }
    _emit({**columns, "kind": str(answer.kind)}, found, fitted, out, keep)


def _accuracy(answer: Posterior, found: rows.Rows) -> None:
    """How often the class is right, where the data tell it."""
    truth = found.batch.given
    if truth is None:
        return
    known = truth.present.flatten(1).all(-1)
    if bool(known.any()):
        right = (answer.best.cpu() == truth.x.flatten(1)[:, 0].long().cpu())[known].double()
        remark(
            f"accuracy {float(right.mean()):.4f} over {plural(len(right), 'row')} whose class is known"
        )


def _keepable(model: Fitted, keep: bool) -> None:
    if keep and model.space.ragged:
        raise BadConfig("a series has many rows of its own, and one answer", do="leave --keep out")


def _numbers(t: Any) -> Any:
    return t.detach().cpu().numpy()


def _emit(answer: dict[str, Any], found: rows.Rows, model: Fitted, out: Any, keep: bool) -> None:
    """One row of answer for each row of data, after the data's own columns where these are kept."""
    import pandas as pd

    if found.names is None:
        named = {}
    else:
        named = {_key(found, answer): found.names}
    frame = pd.DataFrame({**named, **answer, **found.notes}, index=range(len(found.batch)))
    output.emit(_beside(found, model, frame) if keep else frame, out)


def _beside(found: rows.Rows, model: Fitted, frame: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    from likeness.data.frames import to_frame

    if found.frame is not None:
        own = found.frame
    else:
        own = to_frame(model.space, found.batch)
    own = own.drop(columns=[c for c in frame.columns if c in own.columns])
    return pd.concat([own.reset_index(drop=True), frame], axis=1)
