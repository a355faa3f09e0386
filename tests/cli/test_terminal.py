"""Names that a terminal would obey are shown with escapes by every command, and kept as they are in files."""

import io
import json
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from likeness.cli import main
from likeness.cli.text import give
from likeness.core.plain import plain
from likeness.registry import store

COLUMN = "\x1b[31mred[bold]"
OTHER = "\u202eeulb\x9b2J"
GROUP = "[red]group\x07"
LINK = "\x1b]8;;x://y\x07link\x1b]8;;\x07"
KINDS = (LINK, "[bold]b[/bold]", "c\u2066d", "[/]")
ROWS = 120


def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    group = rng.integers(0, 2, ROWS)
    return pd.DataFrame(
        {
            COLUMN: rng.normal(size=ROWS) + 3 * group,
            OTHER: rng.choice(KINDS, ROWS),
            GROUP: np.array([LINK, "plain"])[group],
        }
    )


@pytest.fixture(scope="module")
def place(cli, tmp_path_factory):
    """Rows with names and categories that a terminal would obey, in a file of such a name, and a model of them."""
    folder = tmp_path_factory.mktemp("names")
    table().to_csv(folder / "\x1b[1mrows.csv", index=False)
    holes = table().head(6)
    holes.loc[1, COLUMN] = np.nan
    holes.loc[2, OTHER] = None
    holes.to_csv(folder / "holes\x1b.csv", index=False)
    (folder / "wrong.csv").write_text(f'"{COLUMN}","x\x1b]0;y\x07"\n1,2\n3,4\n')
    (folder / "odd.csv").write_text(f'"{COLUMN}","{OTHER}"\n' + f"{LINK},1\n2,{LINK}\n" * 20)
    code, said = run(cli, folder, f"fit {{rows}} mixture components=2 {given()} --out {{model}}")
    assert code == 0, said
    return folder


def given() -> str:
    return f"--given '{GROUP}' --budget '5 steps'"


def run(cli, folder, line: str) -> tuple[int, str]:
    names = {"rows": "\x1b[1mrows.csv", "holes": "holes\x1b.csv", "model": "model\x1b[7m"}
    paths = {name: f"'{folder / file}'" for name, file in names.items()}
    said = cli(line.format(**paths, at=folder))
    return said.code, said.out + said.err


def clean(said: str) -> bool:
    return said == plain(said)


COMMANDS = (
    f"fit {{rows}} mixture components=2 {given()} --out {{at}}/again",
    "show {model} --graph {at}/graph.svg",
    "sample {model} -n 3 --out {at}/drawn.csv",
    "score {model} {rows} --out {at}/scores.csv",
    "classify {model} {rows} --out {at}/classes.csv",
    "encode {model} {rows} --out {at}/codes.csv",
    "complete {model} {holes} -n 2 --out {at}/completed.csv",
    f"compare {{rows}} --families gaussian,mixture --given '{GROUP}' --budget '3 steps' --seeds 1"
    " --out {at}/\x1breport.html",
)


@pytest.mark.parametrize("line", COMMANDS, ids=[line.split()[0] for line in COMMANDS])
def test_a_command_that_answers_shows_escapes(cli, place, line: str) -> None:
    code, said = run(cli, place, line)
    assert code == 0, said
    assert clean(said), repr(said)
    if line.startswith(("fit", "show")):
        assert plain(COLUMN) in said


REFUSED = (
    "fit {at}/wrong.csv gaussian --columns 'x\x1b=real' --out {at}/no",
    "fit {at}/odd.csv gaussian --out {at}/no",
    "fit '{at}/none\x1b.csv' gaussian --out {at}/no",
    "fit {rows} 'gauss\x1bian'",
    "fit {rows} gaussian 'a\x1b=1'",
    "fit {rows} mixture --given 'x\x9b' --out {at}/no",
    "fit {rows} vi 'target=\x1b:f' --out {at}/no",
    "fit {rows} gaussian --budget '\x1b[2J' --out {at}/no",
    "show '{at}/\x1bnone'",
    "sample {model} --given 'x\x1b=1'",
    f"sample {{model}} --given '{GROUP}=\x1b[2J'",
    "sample {model} --settings '\u202e=1'",
    "sample {model} --out '{at}/x.\x1bcsv'",
    "score {model} {at}/wrong.csv",
    "complete {model} {at}/wrong.csv",
    "forecast {model} {rows}",
    "tag {model} {rows}",
    "classify {model} {rows} --route '\x1b'",
    "encode {model} {at}/odd.csv",
    "compare {rows} --families 'a\x1b'",
    "check 'a\x1b:b'",
    "families '\x1b'",
    "new-family '\x1b'",
)


@pytest.mark.parametrize("line", REFUSED)
def test_a_command_that_is_refused_shows_escapes(cli, place, line: str) -> None:
    code, said = run(cli, place, line)
    assert code != 0
    assert clean(said), repr(said)
    assert "unforeseen" not in said


def test_files_keep_names_as_they_are(cli, place) -> None:
    code, said = run(cli, place, f"sample {{model}} -n 9 --seed 0 --out {place / 'kept.csv'}")
    assert code == 0, said
    config = json.loads((place / "model\x1b[7m" / "config.json").read_text(encoding="utf-8"))
    assert config["space"]["names"] == [COLUMN, OTHER]
    drawn = pd.read_csv(place / "kept.csv")
    assert {COLUMN, OTHER} <= set(drawn.columns)
    assert set(drawn[OTHER]) <= set(KINDS)


def test_markup_in_names_is_shown_and_not_obeyed(cli, place, capsys) -> None:
    code, said = run(cli, place, COMMANDS[-1])
    assert code == 0
    assert r"\x1b[1mrows" in said


def test_notes_and_data_that_a_saved_config_names_are_shown_with_escapes(cli, place) -> None:
    path = place / "model\x1b[7m" / "config.json"
    kept = path.read_text(encoding="utf-8")
    config = json.loads(kept)
    config["data"]["name"] = "x\x1b[2J[red]"
    config["notes"] = ["a note\x9b2J\u202e"]
    config["digest"] = store.config_digest(config)
    path.write_text(json.dumps(config), encoding="utf-8")
    try:
        code, said = run(cli, place, "show {model}")
    finally:
        path.write_text(kept, encoding="utf-8")
    assert code == 0, said
    assert clean(said)
    assert r"x\x1b[2J[red]" in said
    assert r"a note\x9b2J\u202e" in said


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("stream", "told"), [(Terminal(), plain(LINK)), (io.StringIO(), LINK)])
def test_tables_are_escaped_on_a_terminal_and_exact_in_a_pipe(monkeypatch, stream, told) -> None:
    monkeypatch.setattr(sys, "stdout", stream)
    give(f"a\n{LINK}\n")
    assert stream.getvalue() == f"a\n{told}\n"


@pytest.mark.parametrize("words", [["show", "a", "b\x1b[2J"], ["\x1b[2J"], ["sample", "--\x1b"]])
def test_what_the_parser_of_commands_says_is_escaped(monkeypatch, capsys, words) -> None:
    monkeypatch.setattr(sys, "argv", ["likeness", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    assert ended.value.code == 2
    assert clean(said.err)
    assert "\\x1b" in said.err


def test_a_traceback_that_was_asked_for_is_escaped(monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["likeness", "show", "no\x1b[2Jwhere", "--debug"])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    assert ended.value.code == 1
    assert "Traceback" in said.err
    assert clean(said.err)


def test_a_file_whose_name_is_no_text_is_fitted_and_compared(cli, place, tmp_path) -> None:
    name = "caf\udce9.csv"  # as Python holds the bytes of a name that is no UTF-8
    table().to_csv(tmp_path / name, index=False)
    for line in (
        f"fit '{tmp_path}/{name}' mixture components=2 {given()} --out '{tmp_path}/m\udce9'",
        f"show '{tmp_path}/m\udce9'",
        f"score '{tmp_path}/m\udce9' '{tmp_path}/{name}' --out {tmp_path}/scores.csv",
        f"compare '{tmp_path}/{name}' --families gaussian --given '{GROUP}' --budget '2 steps'"
        f" --seeds 1 --out {tmp_path}/report.html",
    ):
        code, said = run(cli, place, line.replace("{", "{{").replace("}", "}}"))
        assert code == 0, said
        assert clean(said)


# ---- encodings -----------------------------------------------------------------------------------

CHILD = """
import sys, os
from likeness.cli import main
codes = []
for line in sys.stdin.read().splitlines():
    sys.argv = ["likeness", *line.split("|")]
    try:
        main()
    except SystemExit as end:
        codes.append(end.code or 0)
print("codes", codes)
"""
ENCODINGS = (
    {"PYTHONIOENCODING": "ascii"},
    pytest.param({"PYTHONIOENCODING": "latin-1"}, marks=pytest.mark.slow),
    pytest.param({"LC_ALL": "C"}, marks=pytest.mark.slow),
    pytest.param(
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, marks=pytest.mark.slow
    ),
)


@pytest.mark.parametrize("environment", ENCODINGS, ids=lambda e: " ".join(e.values()))
def test_an_encoding_that_holds_no_names_stops_no_command(tmp_path, environment) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"größe →": rng.normal(size=60), "城": rng.choice(["東", "é"], 60)})
    frame.to_csv(tmp_path / "rows.csv", index=False)
    lines = (
        "fit|rows.csv|mixture|components=2|--budget|3 steps|--out|run",
        "show|run",
        "sample|run|-n|2",
        "score|run|rows.csv|--out|scores.csv",
        "sample|run|-n|4|--out|drawn.csv",
        "fit|rows.csv|gaussian|--columns|no=real|--out|no",
        "compare|rows.csv|--families|gaussian|--budget|2 steps|--seeds|1|--out|report.html",
    )
    done = subprocess.run(
        [sys.executable, "-c", CHILD],
        input="\n".join(lines).encode(),
        capture_output=True,
        cwd=tmp_path,
        env={**clear(), **environment},
        timeout=300,
        check=False,
    )
    said = done.stdout.decode("latin-1")
    assert "codes [0, 0, 0, 0, 0, 1, 0]" in said, said + done.stderr.decode("latin-1")
    assert set(pd.read_csv(tmp_path / "drawn.csv", encoding="utf-8").columns) == set(frame.columns)
    config = json.loads((tmp_path / "run" / "config.json").read_text(encoding="utf-8"))
    assert config["space"]["names"] == list(frame.columns)
    assert re.search(r"gr(\\xf6|ö|ö|Ã¶)", said)


def clear() -> dict[str, str]:
    """The environment without what says how output is encoded."""
    import os

    gone = ("PYTHONIOENCODING", "PYTHONUTF8", "PYTHONCOERCECLOCALE", "LANG")
    return {k: v for k, v in os.environ.items() if k not in gone and not k.startswith("LC_")}
