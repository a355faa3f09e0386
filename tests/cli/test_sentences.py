"""Tagged sentences on the command line: fitted, scored, refused, compared."""

import random

import pandas as pd
import pytest

WORDS = {"DT": ["the", "a"], "NN": ["dog", "cat", "house"], "VB": ["sees", "likes"]}


def sentence(g: random.Random) -> str:
    tags = ["DT", "NN", "VB", "DT", "NN"] if g.random() < 0.6 else ["NN", "VB", "NN"]
    return "".join(f"{g.choice(WORDS[t])} {t}\n" for t in tags)


@pytest.fixture(scope="module")
def tagged(cli, tmp_path_factory):
    """A file of sentences, and a model of their tags."""
    folder = tmp_path_factory.mktemp("tags")
    g = random.Random(0)
    (folder / "tags.conll").write_text("\n".join(sentence(g) for _ in range(150)), encoding="utf-8")
    said = cli(f"fit {folder}/tags.conll crf --budget '30 steps' --out {folder}/run")
    assert said.code == 0, said.err
    assert "Discriminative" in said.out + said.err
    return folder


def test_sentences_are_scored_with_or_without_labels(cli, tagged) -> None:
    (tagged / "new.conll").write_text("the\nzebra\nsees\n", encoding="utf-8")
    for name, rows in (("tags", 150), ("new", 1)):
        said = cli(f"score {tagged}/run {tagged}/{name}.conll --out {tagged}/{name}.csv")
        assert said.code == 0, said.err
        assert len(pd.read_csv(tagged / f"{name}.csv")) == rows
    assert float(pd.read_csv(tagged / "new.csv")["log_prob"][0]) == pytest.approx(
        0, abs=1e-9
    )  # nothing is known
    scores = pd.read_csv(tagged / "tags.csv")
    assert scores["p_value"].between(0, 1).all()


def test_what_is_amiss_is_said_in_one_sentence(cli, tagged) -> None:
    (tagged / "bad.conll").write_text("the DT\nzebra NN x\n", encoding="utf-8")
    (tagged / "odd.conll").write_text("the DT x\nzebra NN x\n", encoding="utf-8")
    for line, words in (
        (f"score {tagged}/run {tagged}/bad.conll", "line 2"),
        (f"score {tagged}/run {tagged}/odd.conll", "3 columns a word"),
        (f"sample {tagged}/run -n 2", "needs its condition"),
        (f"fit {tagged}/bad.conll crf --out {tagged}/no", "line 2"),
    ):
        said = cli(line)
        assert (said.code, words in said.err) == (1, True), said.err
        assert len(said.err.strip().splitlines()) == 1


def test_a_net_reads_steps_of_several_columns(cli, tagged) -> None:
    said = cli(f"fit {tagged}/tags.conll autoregressive --budget '20 steps' --out {tagged}/net")
    assert said.code == 0, said.err
