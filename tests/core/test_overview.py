"""What objects say of themselves in a console and in a notebook."""

import pandas as pd
import pytest
import torch

import likeness as lk
from likeness.core.overview import Overview
from likeness.core.space import Nominal, Real, Space

NAN = float("nan")
SPECIES = ("setosa", "versicolor", "virginica")


@pytest.fixture(scope="module")
def iris():
    return lk.load("iris", given="species")


@pytest.fixture(scope="module")
def model(iris):
    return lk.fit("mixture", iris, budget="20 steps", components=3, progress=False)


def test_a_model_says_what_it_is_over_its_options_and_what_it_was_fitted_to(model):
    said = repr(model)
    assert said.startswith("Mixture\n")
    assert "4 columns: sepal length (cm)" in said
    assert "components=3" in said
    assert "rows of iris" in said
    assert f"{model.count():,}" in said


def test_a_model_that_was_not_fitted_says_so(iris):
    from likeness import registry

    assert "not yet" in repr(registry.build("gaussian", {}, iris.space, None))


def test_answers_say_their_kind_and_show_the_first_rows(model, iris):
    rows = iris.test
    scored = model.log_prob(rows)
    assert repr(scored).startswith(f"log p of {len(rows)} items: exact")
    assert f"{float(scored.value.min()):.4f} (item {int(scored.value.argmin())})" in repr(scored)
    posterior = model.classify(rows)
    assert all(name in repr(posterior) for name in SPECIES)
    assert f"{float(posterior.probabilities[0, 0]):.4f}" in repr(posterior)
    assert "Mode of 1 item: " in repr(model.mode([[5.0, NAN, 1.4, NAN]], given=["setosa"]))
    assert "log p of 0 items" in repr(model.log_prob(rows.batch[:0]))


def test_draws_show_their_first_rows_as_the_user_knows_them(model):
    draws = model.sample(50, seed=3)
    assert repr(draws).startswith("Draws: 50 rows of 4 columns")
    first = draws.to_pandas().head(10)
    assert len(draws.head()) == 10
    pd.testing.assert_frame_equal(draws.head().to_pandas(), first)
    html = draws._repr_html_()
    assert html.count("<tr") - html.count("<tr><th style") == 11  # ten rows and their head
    assert all(name in html for name in ("sepal length (cm)", "species"))
    assert draws._repr_png_() is None


def test_completions_show_the_first_draw_of_the_first_rows(model):
    draws = model.complete([[5.0, NAN, 1.4, NAN]] * 12, given=["setosa"] * 12, n=5)
    assert "5 rows of 4 columns for each of 12 rows" in repr(draws)
    assert draws.head().x.shape == (1, 10, 4)
    assert (draws.head().to_pandas()["sepal length (cm)"] == 5.0).all()
    alone = model.sample(20, given=["setosa"], seed=0)
    assert alone.head().x.equal(alone.x[:10])


def test_pictures_are_seen_in_a_notebook():
    draws = lk.fit("pca", "digits", budget=1, progress=False).sample(6)
    assert draws._repr_png_().startswith(b"\x89PNG")
    assert "6 items, each image of 1 x 8 x 8" in repr(draws)


def test_texts_are_read_in_a_notebook():
    model = lk.fit("markov", ["abba", "baab", "abab"] * 4, budget=5, progress=False)
    assert "<th>text</th>" in model.sample(3, seed=0)._repr_html_()


def test_a_space_says_what_each_column_holds():
    colours = Nominal(categories=2, labels=("red", "blue"))
    space = Space(
        axes=("column",),
        shape=(2,),
        variables=(Real(lower=0, resolution=0.5), colours),
        names=("size", "colour"),
    )
    lines = repr(space).splitlines()
    assert lines[0] == "Space: 2 columns"
    assert lines[1].split("  ")[-1] == "real, in steps of 0.5, from 0 to infinity"
    assert lines[2].endswith("2 categories: red, blue")


def test_data_and_comparisons_are_tables(iris):
    assert "129 rows" in repr(iris)
    assert "setosa" not in repr(iris.train.space)
    comparison = lk.compare(iris, "gaussian", budget=5, seeds=1)
    html = comparison._repr_html_()
    assert all(f"<th>{name}</th>" in html for name in ("gaussian", "independent", "resampled"))
    assert comparison.sentences[0] in repr(comparison).replace("\n     ", " ")


def test_codes_say_whose_they_are(model, iris):
    codes = model.encode(iris.test)
    assert repr(codes).startswith(f"Categorical distribution of {len(iris.test)} rows: exact")


def test_names_are_no_markup_and_no_terminal_obeys_them():
    shown = Overview("<b>\x1b[31m", {"<i>": "<script>"}, pd.DataFrame({"<u>": ["\x1b[0m"]}))
    assert "\x1b" not in shown.text()
    assert not any(tag in shown.html() for tag in ("<i>", "<script>", "<u>", "<b>\x1b"))


def test_a_module_of_models_is_still_a_module(model):
    assert "Mixture" in repr(torch.nn.ModuleList([model]))
