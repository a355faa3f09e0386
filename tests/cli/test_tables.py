"""Tables in, tables out: what the command line writes is what the model says in Python, and known cells stay."""

import json
import re
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import torch

import likeness as lk
from likeness.learn.fit import parts
from tests.cli.conftest import ROWS


def model_of(folder):
    return lk.open(folder)


def as_text(path):
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def test_fit_says_what_it_saw_and_what_to_do_next(fitted):
    folder, said = fitted
    assert "160 rows, 4 columns" in said.out
    assert "'id' looks like an identifier" in said.out
    assert "city    3 categories: Bern, Genève, Zürich" in said.out
    assert "smoker  2 categories: no, yes" in said.out
    assert f"saved in {folder}" in said.out
    for verb in ("show", "sample", "score", "complete", "classify"):
        assert f"likeness {verb} {folder}" in said.out


def test_copies_and_new_draws_are_told_by_fit_sample_show_and_the_card(cli, tmp_path):
    rng = np.random.default_rng(0)
    source, folder = tmp_path / "coins.csv", tmp_path / "m"
    pd.DataFrame({"a": rng.integers(0, 2, 400), "b": rng.integers(0, 2, 400)}).to_csv(
        source, index=False
    )
    said = cli(f"fit independent {source} --out {folder}").out
    held = len(parts(lk.load(source, test=0.0).train, 0.1, 0)[1])
    line = next(line for line in said.splitlines() if line.startswith("copies:"))
    # All four rows there are were seen: every draw repeats one, and so does every held-out row.
    assert line.startswith(
        f"copies: 100.0 % of {held} draws equal a training row and 0.0 % are new; 100.0 % of held-out"
    )
    assert "no sign of copying" in line
    assert line in cli(f"sample {folder} -n 2").err
    assert line.removeprefix("copies: ") in " ".join(cli(f"show {folder}").out.split())
    assert f"100.0 % of {held} draws equal a training row" in (folder / "card.md").read_text()


def test_the_held_out_score_is_that_of_rows_held_out(fitted, people):
    folder, said = fitted
    model, data = model_of(folder), lk.load(people, given="smoker", test=0.0)
    held = parts(data.train, 0.1, 0)[1].batch
    mean = model.log_prob(held, given=held.given).mean()
    line = next(line for line in said.out.splitlines() if line.startswith("held out:"))
    assert f"log p {mean.value:.3f} ± {mean.stderr:.3f} nats a row (exact" in line
    assert f"over {len(held)} rows" in line
    assert json.loads((folder / "config.json").read_text())["score"]["value"] == pytest.approx(
        mean.value
    )


def test_every_row_was_learned_from_or_held_out(cli, fitted):
    folder, said = fitted
    shown = cli(f"show {folder}").out
    learned = int(re.search(r"data +people: (\d+) rows", shown).group(1))
    held = [
        int(n)
        for text in (said.out, " ".join(shown.split()))
        for n in re.findall(r"held out: .* over (\d+) rows", text)
    ]
    assert len(held) == 2
    assert {learned + n for n in held} == {ROWS}


def test_score_writes_one_row_per_row(cli, fitted, people, tmp_path):
    folder, _ = fitted
    out = tmp_path / "scores.csv"
    said = cli(f"score {folder} {people} --out {out}")
    assert said.code == 0, said.err
    rows, frame = pd.read_csv(out), pd.read_csv(people)
    assert list(rows.columns) == ["log_prob", "kind", "stderr", "anomaly_score", "p_value"]
    model = model_of(folder)
    truth = model.log_prob(frame, given=frame[["smoker"]])
    assert np.allclose(rows["log_prob"], truth.value)
    assert set(rows["kind"]) == {"exact"}
    assert np.allclose(rows["anomaly_score"], -rows["log_prob"])
    held = model.held_out.numpy()
    ranks = [
        (1 + (held >= s - 1e-6 * (1 + abs(s))).sum()) / (len(held) + 1)
        for s in rows["anomaly_score"]
    ]
    assert np.allclose(rows["p_value"], ranks)


def test_without_out_a_table_goes_to_stdout_and_remarks_do_not(cli, fitted, people):
    folder, _ = fitted
    said = cli(f"score {folder} {people} --keep")
    lines = said.out.splitlines()
    assert len(lines) == 161
    assert (
        lines[0] == "id,income,city,signup,kids,smoker,log_prob,kind,stderr,anomaly_score,p_value"
    )
    assert " nats a row, the mean of " in said.err


def test_a_condition_that_the_table_lacks_is_summed_out(cli, fitted, people, tmp_path):
    folder, _ = fitted
    frame = pd.read_csv(people).drop(columns="smoker")
    frame.to_csv(tmp_path / "without.csv", index=False)
    said = cli(f"score {folder} {tmp_path / 'without.csv'} --out {tmp_path / 'scores.csv'}")
    assert "smoker not found" in said.err
    assert np.allclose(
        pd.read_csv(tmp_path / "scores.csv")["log_prob"], model_of(folder).log_prob(frame).value
    )


def test_classify_is_bayes_rule(cli, fitted, people, tmp_path):
    folder, _ = fitted
    said = cli(f"classify {folder} {people} --out {tmp_path / 'classes.csv'}")
    rows, frame, model = (
        pd.read_csv(tmp_path / "classes.csv"),
        pd.read_csv(people),
        model_of(folder),
    )
    joint = [
        model.log_prob(frame, given=[label] * len(frame)).value + model.class_prior()[k].log()
        for k, label in enumerate(("no", "yes"))
    ]
    assert np.allclose(rows[["p_no", "p_yes"]], torch.stack(joint, -1).softmax(-1))
    right = (rows["predicted_smoker"] == frame["smoker"]).mean()
    assert f"accuracy {right:.4f} over 160 rows" in said.err


def test_encode_gives_each_component_its_probability(cli, fitted, people, tmp_path):
    folder, _ = fitted
    cli(f"encode {folder} {people} --out {tmp_path / 'codes.parquet'}")
    rows = pd.read_parquet(tmp_path / "codes.parquet")
    chances = rows.filter(like="p_").to_numpy()
    assert np.allclose(chances.sum(1), 1)
    assert (rows["code"] == chances.argmax(1)).all()


def test_complete_fills_holes_and_keeps_known_cells_as_they_were_written(
    cli, fitted, people, tmp_path
):
    folder, _ = fitted
    text = people.read_text().replace("30000.0,", "30000.00,").splitlines()
    text[1] = (
        text[1].replace(text[1].split(",")[1], "31000.50", 1) if text[1].split(",")[1] else text[1]
    )
    source = tmp_path / "holes.csv"
    source.write_text("\n".join(text) + "\n")
    said = cli(f"complete {folder} {source} -n 2 --seed 4 --out {tmp_path / 'full.csv'}")
    assert said.code == 0, said.err
    before, after = as_text(source), as_text(tmp_path / "full.csv")
    assert list(after["draw"]) == ["0", "1"] * len(before)
    holes = before == ""
    assert holes.to_numpy().sum() > 20
    for draw in ("0", "1"):
        one = after[after["draw"] == draw].drop(columns=["row", "draw"]).reset_index(drop=True)
        assert (one.where(~holes, "") == before).all().all()
        assert (one != "").all().all()
        assert one["signup"].str.fullmatch(r"\d{4}-\d\d-\d\d").all()
        assert set(one["city"]) == {"Bern", "Genève", "Zürich"}


def test_completions_are_the_models_own(cli, fitted, people, tmp_path):
    folder, _ = fitted
    cli(f"complete {folder} {people} --seed 7 --out {tmp_path / 'full.csv'}")
    frame, full = pd.read_csv(people), pd.read_csv(tmp_path / "full.csv")
    drawn = model_of(folder).complete(frame, given=frame[["smoker"]], seed=7)
    assert np.allclose(
        full["income"], drawn.x[0, :, 0], atol=0.0051
    )  # two decimals, as the column is written


def test_sample_draws_the_same_with_the_same_seed(cli, fitted):
    folder, _ = fitted
    one, again = cli(f"sample {folder} -n 4 --seed 5"), cli(f"sample {folder} -n 4 --seed 5")
    assert one.out == again.out
    assert one.out != cli(f"sample {folder} -n 4 --seed 6").out
    later = cli(f"sample {folder} -n 2 --seed 5 --first 2")
    assert later.out.splitlines()[1:] == one.out.splitlines()[3:]


def test_sample_under_conditions(cli, fitted):
    folder, _ = fitted
    said = cli(f"sample {folder} -n 3 --given yes --fix city=Bern --seed 1")
    rows = [line.split(",") for line in said.out.splitlines()]
    assert [row[rows[0].index("city")] for row in rows[1:]] == ["Bern"] * 3
    assert cli(f"sample {folder} --given maybe").err.startswith("error: 'maybe' is no category")


def test_show_prints_the_card(cli, fitted):
    folder, _ = fitted
    said = cli(f"show {folder}")
    for words in (
        "mixture: Mixture by EM",
        "4 columns",
        "signup  date",
        "smoker  2 categories: no, yes",
        "Bayes' rule",
    ):
        assert words in said.out
    assert "people: " in said.out
    assert "held out: log p" in said.out


def test_data_and_family_may_change_places(cli, people, tmp_path):
    said = cli(f"fit independent {people} bins=8 --budget '2 steps' --out {tmp_path / 'm'}")
    assert said.code == 0, said.err
    assert (tmp_path / "m" / "config.json").exists()


def test_a_folder_is_found_where_none_is_named(cli, people, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("people-gaussian", "people-gaussian-2"):
        said = cli(
            f"fit {people} gaussian --columns city=skip --columns smoker=skip --columns kids=real"
        )
        assert f"saved in runs/{name} " in said.out


def test_a_step_may_be_a_columns_type(cli, people, tmp_path):
    said = cli(f"fit {people} independent --columns income=100 --out {tmp_path / 'm'}")
    assert "income  real, in steps of 100" in said.out


def test_compare_writes_a_page_and_numbers(cli, tmp_path):
    rng = np.random.default_rng(0)
    pd.DataFrame(rng.normal(size=(200, 2)), columns=["a", "b"]).to_csv(
        tmp_path / "d.csv", index=False
    )
    said = cli(
        f"compare {tmp_path / 'd.csv'} mixture.components=2 --families mixture --budget '3 steps' --seeds 1 "
        f"--settings draws=50 --settings batch=50 --out {tmp_path / 'report.html'}"
    )
    assert said.code == 0, said.err
    facts = json.loads((tmp_path / "report.json").read_text())
    assert {row["name"] for row in facts["rows"]} >= {
        "mixture",
        "gaussian",
        "independent",
        "resampled",
    }
    assert (tmp_path / "report.html").read_text().lstrip().lower().startswith("<!doctype html")


def test_show_lists_variables_and_draws_them(cli, fitted, tmp_path):
    folder, _ = fitted
    place = tmp_path / "graph.svg"
    said = cli(f"show {folder} --graph {place}")
    assert said.code == 0, said.err
    listed = said.out.split("\nvariables\n")[1].split("\n\n")[0].splitlines()
    found = {line.split()[0]: line.split(maxsplit=2)[1:] for line in listed}
    assert found["z"] == ["latent", "one of 2"]
    assert found["y"] == ["given", "smoker, one of 2"]
    assert found["x"][0] == "observed"
    assert found["x"][1].endswith("[4]")
    assert ElementTree.parse(place).getroot().tag == "{http://www.w3.org/2000/svg}svg"
    assert "N = " in place.read_text(encoding="utf-8")
    refused = cli(f"show {folder} --graph {tmp_path / 'graph.png'}")
    assert refused.code == 2
    assert "use one of .svg" in refused.err
