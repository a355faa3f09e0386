"""Labels on the command line: a file comes back as it was, with the labels that its words lacked."""

import random

import pytest
import torch

import likeness as lk

WORDS = {"DT": ["the", "a"], "NN": ["dog", "cat", "house"], "VB": ["sees", "likes"]}
TAG = {word: tag for tag, words in WORDS.items() for word in words}


@pytest.fixture(scope="module")
def tagger(cli, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tagger")
    g = random.Random(0)
    orders = (("DT", "NN", "VB", "DT", "NN"), ("NN", "VB", "NN"), ("DT", "NN", "VB"))
    items = ["".join(f"{g.choice(WORDS[t])} {t}\n" for t in g.choice(orders)) for _ in range(80)]
    (folder / "tags.conll").write_text("\n".join(items))
    said = cli(f"fit {folder}/tags.conll crf --budget '20 steps' --out {folder}/run")
    assert said.code == 0, said.err
    assert "likeness tag" in said.out
    assert "likeness sample" not in said.out
    return folder


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("column", ["", " _", "\t?", "\t"])
def test_labels_come_behind_words_and_all_else_stays(cli, tagger, end, column):
    lines = ["-DOCSTART-", "", "the", "dog", "sees", "", "", "  ", "cat", "likes", "Zebra\u00e9"]
    text = end.join(
        line + (column if line.strip() and not line.startswith("-") else "") for line in lines
    )
    (tagger / "new.conll").write_bytes(text.encode())
    said = cli(f"tag {tagger}/run {tagger}/new.conll --out {tagger}/out.conll")
    assert said.code == 0, said.err
    mark = "\t" if "\t" in column else " "
    tags = {**TAG, "Zebra\u00e9": "NN"}
    wanted = end.join(f"{w}{mark}{tags[w]}" if w in tags else w for w in lines)
    assert (tagger / "out.conll").read_bytes() == wanted.encode()
    assert "6 labels of 2 sentences told" in said.err


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_the_answer_is_in_the_encoding_of_the_file(cli, tagger, encoding):
    (tagger / "marked.conll").write_bytes("the\r\ndog\r\n".encode(encoding))
    said = cli(f"tag {tagger}/run {tagger}/marked.conll --out {tagger}/marked.out.conll")
    assert said.code == 0, said.err
    assert (tagger / "marked.out.conll").read_bytes() == "the DT\r\ndog NN\r\n".encode(encoding)


def test_a_label_that_is_known_stays_and_tells_of_its_neighbours(cli, tagger):
    (tagger / "some.conll").write_text("qux _\nquux VB\nquuz _\n")
    said = cli(f"tag {tagger}/run {tagger}/some.conll")
    assert said.out.splitlines()[1] == "quux VB"
    assert [line.split()[1] for line in said.out.splitlines()] == ["NN", "VB", "NN"]
    assert "2 labels of 1 sentence told" in said.err


def test_probabilities_are_the_laws_own(cli, tagger):
    (tagger / "bare.conll").write_text("the\nqux\nlikes\n\ncat\nsees\n")
    said = cli(f"tag {tagger}/run {tagger}/bare.conll --probabilities")
    assert said.code == 0, said.err
    model = lk.open(tagger / "run")
    from likeness.data import conll

    batch = conll.of_file(model.space, model.given_space, tagger / "bare.conll")
    mean = (
        model.encode(batch, given=batch.given)
        .mean[batch.within[:, :, None].expand(-1, -1, 3)]
        .reshape(-1, 3)
    )
    found = [
        [float(f.split("=")[1]) for f in line.split()[2:]] for line in said.out.splitlines() if line
    ]
    assert [f.split("=")[0] for f in said.out.splitlines()[0].split()[2:]] == ["DT", "NN", "VB"]
    assert torch.allclose(torch.tensor(found), mean.float(), atol=1e-4)


def test_known_labels_are_told_again_beside(cli, tagger):
    (tagger / "gold.conll").write_text(
        "the DT\ndog NN\nsees NN\n"
    )  # the last label is wrong on purpose
    said = cli(f"tag {tagger}/run {tagger}/gold.conll --beside")
    assert said.out == "the DT DT\ndog NN NN\nsees NN VB\n"
    assert "accuracy 0.6667 over 3 words" in said.err


@pytest.mark.parametrize(
    ("text", "line", "code", "words"),
    [
        ("", "tag {run} {file}", 1, "there are no sentences"),
        ("the DT\n", "tag {run} {file}", 1, "tell them again with --beside"),
        ("the\n", "tag {run} {file} --beside", 1, "no label is known"),
        ("the DT x\n", "tag {run} {file}", 1, "3 columns a word"),
        ("the ADJ\n", "tag {run} {file} --beside", 1, "'ADJ'"),
        ("the\ndog NN\n", "tag {run} {file}", 1, "line 2"),
        ("the\n", "tag {run} {file} --out {file}", 2, "take the place of the data"),
        ("the\n", "tag {run} {file} --out x.csv", 2, "not written here"),
        ("the\n", "tag {other} {file}", 1, "did not learn to tag"),
        ("the\n", "complete {run} {file}", 2, "use likeness tag"),
        ("the\n", "forecast {run} {file}", 1, "step by step"),
    ],
)
def test_what_is_amiss_is_said_in_one_sentence(cli, tagger, text, line, code, words):
    (tagger / "x.conll").write_text(text)
    (tagger / "t.csv").write_text(
        "a,b\n" + "".join(f"{i * 0.37:.2f},{i % 7 * 1.1:.1f}\n" for i in range(30))
    )
    if "{other}" in line and not (tagger / "other").exists():
        assert cli(f"fit {tagger}/t.csv gaussian --out {tagger}/other").code == 0
    said = cli(line.format(run=tagger / "run", other=tagger / "other", file=tagger / "x.conll"))
    assert (said.code, words in said.err) == (code, True), said.err
    assert len(said.err.strip().splitlines()) == 1
    assert (tagger / "x.conll").read_text() == text
