"""Documents on the command line: cut into words, told in topics, new ones held against the words that were learned."""

import random
import re

import pandas as pd
import pytest

SPORT, TRADE = (
    ["goal", "match", "team", "player", "coach"],
    ["market", "bank", "stocks", "price", "trade"],
)


def document(g: random.Random, k: int) -> list[str]:
    return [g.choice((SPORT, TRADE)[k % 2]) for _ in range(20)]


@pytest.fixture(scope="module")
def corpus(cli, tmp_path_factory):
    """The same documents as text and as bags, each with a model of two topics."""
    folder = tmp_path_factory.mktemp("corpus")
    g, words = random.Random(0), sorted(SPORT + TRADE)
    items = [document(g, k) for k in range(40)]
    (folder / "docs.txt").write_text(
        "".join(" ".join(item).capitalize() + ".\n" for item in items) + "once\n"
    )
    bags = [{words.index(w): item.count(w) for w in sorted(item)} for item in items]
    (folder / "bags.dat").write_text(
        "".join(f"{len(b)} {' '.join(f'{k}:{n}' for k, n in b.items())}\n" for b in bags)
    )
    (folder / "list.txt").write_text("\n".join(words) + "\n")
    for line in (
        "docs.txt topic topics=2 --words 2",
        f"bags.dat topic topics=2 --vocabulary {folder}/list.txt",
    ):
        name = line.split(".")[0]
        said = cli(f"fit {folder}/{line} --budget '30 steps' --out {folder}/{name}")
        assert said.code == 0, said.err
        assert f"likeness encode {folder}/{name}" in said.out
    return folder


@pytest.mark.parametrize("name", ["docs", "bags"])
def test_topics_are_shown_in_words(cli, corpus, name):
    shown = " ".join(cli(f"show {corpus}/{name}").out.split())  # lines are as wide as the terminal
    topics = [found.split(", ")[:5] for found in re.findall(r"of the words: ([^.]*)\.", shown)]
    assert sorted(map(sorted, topics)) == sorted([sorted(SPORT), sorted(TRADE)])


@pytest.mark.parametrize("name", ["docs", "bags"])
def test_new_documents_are_shared_out_and_unknown_words_are_said(cli, corpus, name):
    (corpus / "new.txt").write_text(
        "A goal! The coach, the team, the match.\nBank and stocks, trade.\nqwerty\n"
    )
    said = cli(f"encode {corpus}/{name} {corpus}/new.txt --out {corpus}/codes.csv")
    assert said.code == 0, said.err
    assert "never learned, so <unk>, 6 of 13 words: the, a, and, qwerty" in said.err
    assert "documents without a word that was learned: 1 of 3" in said.err
    codes = pd.read_csv(corpus / "codes.csv")
    assert list(codes.columns) == ["topic 0", "topic 1", "unknown_words"]
    assert codes.pop("unknown_words").tolist() == [4, 1, 1]
    assert codes.sum(axis=1).to_numpy() == pytest.approx(1)
    sport = codes.iloc[0].argmax()
    assert codes.iloc[0, sport] > 0.8 > 0.2 > codes.iloc[1, sport]


def test_bags_bring_their_own_list_of_words(cli, corpus):
    """The same document in numbers of another list, and in those of the model's own."""
    (corpus / "other").mkdir(exist_ok=True)
    (corpus / "other" / "new.vocab").write_text("unheard\ngoal\nmatch\n")
    (corpus / "other" / "new.dat").write_text("3 0:1 1:2 2:1\n")
    (corpus / "new.txt").write_text("goal goal match unheard\n")
    words = sorted(SPORT + TRADE)
    (corpus / "plain.dat").write_text(f"3 {words.index('goal')}:2 {words.index('match')}:1 77:1\n")
    found = [
        cli(f"encode {corpus}/bags {corpus}/{f}") for f in ("other/new.dat", "new.txt", "plain.dat")
    ]
    assert found[0].out == found[1].out == found[2].out
    assert "1 of 4 words: unheard" in found[0].err
    assert "1 of 4 words: 77" in found[2].err


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("fit {c}/docs.txt topic --words 2000 --out {c}/no", 1, "a smaller --words"),
        ("fit {c}/docs.txt topic words=2 --out {c}/no", 2, "--words"),
        (
            "fit {c}/docs.txt topic --words 2 --vocabulary {c}/list.txt --out {c}/no",
            2,
            "--words or --vocabulary",
        ),
        ("fit {c}/bags.dat topic --vocabulary {c}/gone.txt --out {c}/no", 1, "gone.txt"),
        ("fit {c}/bags.dat topic --vocabulary {c}/short.txt --out {c}/no", 1, "line 1"),
        ("encode {c}/docs {c}/void.txt", 1, "there are no rows"),
    ],
)
def test_what_is_amiss_is_said_in_one_sentence(cli, corpus, line, code, words):
    (corpus / "short.txt").write_text("one\n")
    (corpus / "void.txt").write_text("")
    said = cli(line.format(c=corpus))
    assert (said.code, words in said.err) == (code, True), said.err
    assert len(said.err.strip().splitlines()) == 1


def test_text_of_characters_says_how_to_have_words(cli, corpus):
    said = cli(f"fit {corpus}/docs.txt independent --budget '1 steps' --out {corpus}/characters")
    assert "--words 1 takes words instead" in said.out


def test_labelled_words_in_a_text_are_noticed(cli, tmp_path):
    (tmp_path / "train.txt").write_text("the DT\ndog NN\n\n" * 20)
    said = cli(f"fit {tmp_path}/train.txt markov --budget '1 steps' --out {tmp_path}/run")
    assert "labelled words are read from a .conll" in said.out
