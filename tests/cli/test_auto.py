"""`likeness fit data.csv` without a family takes one that suits the data and says which and why."""

import json


def test_a_table_alone_is_fitted(cli, people, tmp_path):
    said = cli(f"fit {people} --columns id=skip --budget '5 steps' --out {tmp_path / 'model'}")
    assert said.code == 0, said.err
    assert "mixture was chosen: exact for every type of column" in said.out
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert "components" in config["family"]
    assert "mixture was chosen" in cli(f"show {tmp_path / 'model'}").out


def test_options_without_a_family_are_refused_before_data_are_read(cli):
    for line in ("fit nothing.csv layers=3", "fit nothing.csv auto layers=3"):
        said = cli(line)
        assert said.code == 2
        assert "'layers=3' is an option of some family, and none is named" in said.err


def test_a_family_without_data_is_refused(cli):
    said = cli("fit mixture")
    assert said.code == 2
    assert "mixture is a family, and there are no data" in said.err
