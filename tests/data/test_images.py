"""Images: folders become classes, broken files are named, and binarised pixels follow their grey level."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from likeness.api import load
from likeness.core.batch import Batch, as_batch
from likeness.core.errors import BadConfig, BadData
from likeness.core.space import Ordinal, image
from likeness.data.images import Dynamic, read_folder, threshold, uniforms
from likeness.data.source import Table


def save(path, pixels, mode="L"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels, mode).save(path)


def pixels(seed, shape=(6, 5)):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture
def folder(tmp_path):
    for i in range(3):
        save(tmp_path / "cats" / f"{i}.png", pixels(i))
        save(tmp_path / "dogs" / "puppies" / f"{i}.png", pixels(10 + i))
    return tmp_path


def test_a_folder_holds_what_was_saved(folder):
    reading = read_folder(folder, name="pets")
    table = reading.parts["all"]
    assert (table.space, reading.aside) == (image(1, 6, 5), "label")
    assert table.given_space.variables[0].labels == ("cats", "dogs")
    expected = np.stack([pixels(i) for i in (0, 1, 2, 10, 11, 12)])[:, None]
    np.testing.assert_array_equal(table.batch.x.numpy(), expected)
    assert table.batch.given.x[:, 0].tolist() == [0, 0, 0, 1, 1, 1]


def test_classes_are_given_only_when_asked(folder):
    plain, asked = load(folder, test=0), load(folder, test=0, given="label")
    assert plain.given_space is None
    assert plain.labels["train"].tolist() == [0, 0, 0, 1, 1, 1]
    assert asked.given_space.label == 2
    assert not asked.labels
    with pytest.raises(BadData, match="the label is called 'label'"):
        load(folder, given="species")


def test_an_image_outside_every_class_has_no_label(folder):
    save(folder / "stray.png", pixels(99))
    assert load(folder, test=0).labels["train"].tolist() == [0, 0, 0, 1, 1, 1, -1]
    assert load(folder, test=0, given="label").train.batch.given.present[:, 0].tolist() == [
        True
    ] * 6 + [False]


def test_an_official_split_is_kept(tmp_path):
    for part, n in (("train", 4), ("test", 2)):
        for i in range(n):
            save(tmp_path / part / "one" / f"{i}.png", pixels(i))
    data = load(tmp_path)
    assert (len(data.train), len(data.test), len(data)) == (4, 2, 6)
    with pytest.raises(BadConfig, match="official split"):
        load(tmp_path, test=0.5)


def test_channels_and_sizes(tmp_path):
    save(tmp_path / "a.png", pixels(0, (4, 4, 3)), "RGB")
    save(tmp_path / "b.png", pixels(1, (4, 4)))
    assert read_folder(tmp_path, name="x").parts["all"].space == image(3, 4, 4)
    assert read_folder(tmp_path, name="x", channels=1).parts["all"].space == image(1, 4, 4)
    save(tmp_path / "c.png", pixels(2, (4, 6)))
    with pytest.raises(BadData, match=r"4 x 6 among images of 4 x 4 .*c\.png"):
        read_folder(tmp_path, name="x")
    assert read_folder(tmp_path, name="x", size=(8, 2)).parts["all"].space == image(3, 8, 2)


def test_black_and_white_is_binary(tmp_path):
    for i in range(3):
        save(tmp_path / f"{i}.png", (pixels(i) > 127).astype(np.uint8) * 255)
    table = read_folder(tmp_path, name="x").parts["all"]
    assert table.space == image(1, 6, 5, levels=2)
    np.testing.assert_array_equal(table.batch.x[1, 0].numpy(), pixels(1) > 127)


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n"])
def test_an_unreadable_image_is_named(folder, content):
    (folder / "cats" / "broken.png").write_bytes(content)
    with pytest.raises(BadData, match=r"the image cannot be read .*broken\.png"):
        load(folder)


def test_a_cut_image_is_named(folder):
    whole = (folder / "cats" / "0.png").read_bytes()
    (folder / "cats" / "cut.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadData, match=r"cut\.png"):
        load(folder)


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(BadData, match="no images"):
        load(tmp_path)


def test_deep_images_are_refused(tmp_path):
    Image.fromarray(np.full((4, 4), 40000, dtype=np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(BadData, match=r"more than 8 bits.*deep\.png"):
        load(tmp_path)


def test_files_are_read_into_a_known_space(folder):
    batch = as_batch(image(1, 6, 5), folder / "cats" / "1.png")
    np.testing.assert_array_equal(batch.x[0, 0].numpy(), pixels(1))
    assert len(as_batch(image(1, 6, 5), str(folder))) == 6
    assert as_batch(image(1, 6, 5, levels=2), folder).x.max() == 1


GREY = Table(
    image(1, 4, 4, levels=17),
    Batch(torch.arange(17.0)[:, None, None, None].expand(17, 1, 4, 4).clone()),
)


def test_pixels_follow_their_grey_level():
    """Over E epochs a level's share of white has standard error sqrt(p (1 - p) / (16 E))."""
    source, epochs = Dynamic(GREY, seed=3), 400
    share = sum(source.epoch(e).batch.x.double() for e in range(epochs)).flatten(1).mean(1) / epochs
    p = torch.arange(17.0, dtype=torch.float64) / 16
    assert ((share - p).abs() <= 5 * (p * (1 - p) / (16 * epochs)).sqrt() + 1e-12).all()
    assert source.space == image(1, 4, 4, levels=2)


def test_a_draw_depends_on_seed_epoch_and_item_alone():
    source = Dynamic(GREY, seed=3)
    whole, rows = source.batch.x, torch.tensor([9, 2, 5])
    assert torch.equal(source.rows(rows).x, whole[rows])
    assert torch.equal(source.take(rows).batch.x, whole[rows])
    assert torch.equal(torch.cat([b.x for b in source.chunks(4)]), whole)
    assert torch.equal(source.fixed().batch.x, whole)
    assert not torch.equal(source.epoch(1).batch.x, whole)
    assert not torch.equal(Dynamic(GREY, seed=4).batch.x, whole)
    kept, out = source.split(0.3)
    assert len(kept) + len(out) == 17
    assert torch.equal(kept.batch.x, whole[kept.batch.ids])


def test_coins_are_uniform_and_unrelated():
    """Kolmogorov's distance below 5 standard units, and correlations of rows, epochs and neighbours within 5 s.e."""
    u = uniforms(torch.arange(500), 200, seed=1).double()
    flat = u.flatten().sort().values
    n = len(flat)
    assert (flat - (torch.arange(n) + 0.5) / n).abs().max() * math.sqrt(
        n
    ) < 2.5  # exceeded once in 10^5
    other = uniforms(torch.arange(500), 200, seed=2).double()
    for a, b in ((u, other), (u[1:], u[:-1]), (u[:, 1:], u[:, :-1])):
        r = ((a - 0.5) * (b - 0.5)).mean() * 12
        assert abs(r) < 5 / math.sqrt(a.numel())
    assert u.min() >= 0
    assert u.max() < 1


def test_threshold_cuts_at_half():
    assert threshold(GREY).batch.x[:, 0, 0, 0].tolist() == [0] * 9 + [1] * 8
    assert threshold(GREY).space.variables == (Ordinal(levels=2),)


def test_held_out_parts_are_drawn_once():
    data = load("digits", binarize="dynamic", valid=0.1)
    assert isinstance(data.train, Dynamic)
    assert all(
        set(part.batch.x.unique().tolist()) == {0.0, 1.0} for part in (data.valid, data.test)
    )
    again = load("digits", binarize="dynamic", valid=0.1)
    assert torch.equal(data.test.batch.x, again.test.batch.x)
    assert data.train.hash() == again.train.hash()
    with pytest.raises(BadConfig, match="not for these items"):
        load("iris", binarize="dynamic")
