"""--max-memory bounds what a command reads, and what is refused says how to allow it."""

import gzip

import pytest

from likeness.data import limits

COMMANDS = ("fit {data} gaussian --out {folder}/x", "score {model} {data}", "encode {model} {data}",
            "classify {model} {data}", "complete {model} {data}", "forecast {model} {data} --steps 1",
            "compare {data} --families gaussian", "tag {model} {data}")  # fmt: skip


@pytest.mark.parametrize("command", [c for c in COMMANDS if not c.startswith(("forecast", "tag"))])
def test_commands_read_no_more_than_they_may(cli, fitted, people, tmp_path, command):
    data = tmp_path / "people.csv.gz"
    data.write_bytes(gzip.compress(people.read_bytes() * 20))
    said = cli(command.format(data=data, model=fitted[0], folder=tmp_path) + " --max-memory 900kB")
    assert said.code == 1
    assert "reading would take more than 900.0 kB of memory where 900.0 kB are allowed" in said.err
    assert f"({data}); allow more with --max-memory 1GB, or give less at once" in said.err


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_no_size_is_told_to_every_command(cli, fitted, people, tmp_path, command):
    said = cli(command.format(data=people, model=fitted[0], folder=tmp_path) + " --max-memory much")
    assert said.code == 2
    assert "'much' is no size of memory; write 5GB, say" in said.err


def test_the_bound_of_a_command_ends_with_it(cli, fitted, people, tmp_path):
    before = limits.bound()
    assert cli(f"score {fitted[0]} {people} --max-memory 7GB --out {tmp_path}/x.csv").code == 0
    assert limits.bound() == before
