"""Sounds and pictures through the command line: what is drawn is written as what was learned."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import wavfile

from likeness.core.draws import Draws
from likeness.core.space import image
from likeness.data.wav import encode, read


@pytest.fixture(scope="module")
def sounds(cli, tmp_path_factory):
    """A folder of sounds of 24 bits, and a model of them."""
    root = tmp_path_factory.mktemp("sounds")
    (root / "data").mkdir()
    rng = np.random.default_rng(0)
    for i in range(24):
        made, _ = encode(rng.uniform(-0.3, 0.3, 12), rate=11025, depth="i24")
        (root / "data" / f"{i}.wav").write_bytes(made)
    assert cli(f"fit {root}/data gaussian --out {root}/model").code == 0
    return root


def test_several_sounds_are_files_with_numbers_and_nothing_else_is_left(cli, sounds, tmp_path):
    said = cli(f"sample {sounds}/model -n 3 --seed 0 --out {tmp_path}/out/a.wav")
    assert said.code == 0
    assert f"written to {tmp_path}/out/a-0000.wav ... {tmp_path}/out/a-0002.wav" in said.err
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["a-0000.wav", "a-0001.wav", "a-0002.wav"]
    drawn = read(tmp_path / "out" / "a-0001.wav")
    assert (drawn.rate, drawn.depth, drawn.samples.shape) == (11025, "i24", (12, 1))


def test_one_sound_has_the_name_that_was_asked_for(cli, sounds, tmp_path):
    assert cli(f"sample {sounds}/model -n 1 --seed 0 --out {tmp_path}/a.wav").code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]
    assert wavfile.read(tmp_path / "a.wav")[0] == 11025


def test_a_place_that_cannot_be_written_is_named(cli, sounds, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    said = cli(f"sample {sounds}/model -n 2 --seed 0 --out {tmp_path}/file/a.wav")
    assert said.code == 1
    assert "nothing was written" in said.err


def test_drawn_pictures_keep_their_transparency(tmp_path):
    values = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 4, 6, 6))).float()
    Draws(values, image(4, 6, 6), "test", 7).save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.mode == "RGBA"
        scale = picture.width // 8
        shown = np.asarray(picture)[scale // 2 :: scale, scale // 2 :: scale][1:7, 1:7]
    np.testing.assert_array_equal(np.moveaxis(shown, -1, 0), values[0].numpy())
