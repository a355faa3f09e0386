"""Folders: links are followed, parts are no classes, and what is passed over is counted."""

import os
import sys
import unicodedata

import numpy as np
import pytest
from PIL import Image

from likeness.api import load
from likeness.core.errors import BadData
from likeness.data.folders import walk
from likeness.data.source import Loud


def picture(path, level=0):
    """A grey picture whose pixels are all of one level."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((4, 4), level, np.uint8)).save(path, format="PNG")


def pictures(root, counts, level=0):
    """So many pictures in each folder."""
    for folder, n in counts.items():
        for i in range(n):
            picture(root / folder / f"{i}.png", level + i)
    return root


def classes(data):
    """The names of the classes, or None."""
    return data.label_space and data.label_space.variables[0].labels


def loud(data):
    return [note for note in data.notes if isinstance(note, Loud)]


# ---- links ---------------------------------------------------------------------------------------


def test_linked_folders_are_classes_like_others(tmp_path):
    pictures(tmp_path, {"data/cat": 3, "elsewhere/dog": 2})
    (tmp_path / "data" / "dog").symlink_to("../elsewhere/dog")
    data = load(tmp_path / "data", test=0)
    assert classes(data) == ("cat", "dog")
    assert data.labels["train"].tolist() == [0, 0, 0, 1, 1]
    assert data.notes == ()


def test_links_to_parts_and_to_files_are_followed(tmp_path):
    pictures(tmp_path, {"big/a": 3, "big/b": 2})
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train").symlink_to("../big/a")
    (tmp_path / "data" / "test").symlink_to("../big/b")
    assert (len(load(tmp_path / "data").train), len(load(tmp_path / "data").test)) == (3, 2)
    (tmp_path / "few").mkdir()
    for i in range(2):
        (tmp_path / "few" / f"{i}.png").symlink_to(tmp_path / "big" / "a" / f"{i}.png")
    assert len(load(tmp_path / "few", test=0).train) == 2


def test_loops_end_and_say_so(tmp_path):
    pictures(tmp_path, {"a": 2, "b": 2})
    (tmp_path / "a" / "up").symlink_to("..")
    (tmp_path / "b" / "across").symlink_to("../a")
    (tmp_path / "self").symlink_to("self")
    data = load(tmp_path, test=0)
    assert len(data.train) == 4
    assert classes(data) == ("a", "b")
    assert sorted(loud(data)) == [
        "2 links, whose folders are read already, were passed over: 'a/up', 'b/across'",
        "the link 'self', which leads nowhere, was passed over",
    ]


def test_a_folder_is_read_once_and_under_its_own_name(tmp_path):
    pictures(tmp_path, {"zebra": 2, "horse": 2})
    (tmp_path / "a").symlink_to("zebra")
    listing = walk(tmp_path)
    assert listing.folders == (("horse",), ("zebra",))
    assert len(listing.files) == 4
    assert len(listing.notes) == 1


def test_links_leading_out_of_the_folder_do_not_lead_around_it(tmp_path):
    pictures(tmp_path, {"data/a": 2, "secret": 5})
    (tmp_path / "data" / "a" / "out").symlink_to(tmp_path)
    assert len(walk(tmp_path / "data").files) == 2


def test_linked_texts_and_sounds_are_read(tmp_path):
    for place in ("texts", "more"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "a.txt").write_text(f"from {place}", encoding="utf-8")
    (tmp_path / "texts" / "linked").symlink_to("../more")
    (tmp_path / "texts" / "lost").symlink_to("../nowhere")
    data = load(tmp_path / "texts", test=0)
    assert len(data.train) == 2
    assert "the link 'lost', which leads nowhere, was passed over" in data.notes


# ---- parts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names", [("train", "test"), ("Training", "TESTING"), ("train", "val"), ("train", "dev")]
)
def test_two_parts_are_what_is_learned_from_and_tested_on(tmp_path, names):
    pictures(tmp_path, {f"{names[0]}/x": 3, f"{names[0]}/y": 2, f"{names[1]}/y": 2})
    data = load(tmp_path)
    assert {name: len(part) for name, part in data.parts.items()} == {"train": 5, "test": 2}
    assert classes(data) == ("x", "y")
    assert data.labels["test"].tolist() == [1, 1]
    first, second = sorted(names)
    assert data.notes[0].startswith(f"folders are parts, not classes: {first!r} ")
    assert f"{second!r} to " in data.notes[0]


def test_three_parts_without_classes(tmp_path):
    pictures(tmp_path, {"train": 5, "validation": 2, "test": 3})
    data = load(tmp_path)
    assert {name: len(p) for name, p in data.parts.items()} == {"train": 5, "valid": 2, "test": 3}
    assert classes(data) is None
    assert data.notes[0] == (
        "folders are parts, not classes: 'test' to test on (3 images), "
        "'train' to learn from (5 images), 'validation' to choose by (2 images)"
    )


def test_a_class_may_be_called_as_a_part_is(tmp_path):
    pictures(tmp_path, {"train": 2, "bus": 2, "tram": 2})
    assert classes(load(tmp_path, test=0)) == ("bus", "train", "tram")


def test_parts_without_one_to_learn_from_are_refused(tmp_path):
    pictures(tmp_path, {"val": 2, "test": 2})
    with pytest.raises(BadData, match=r"'test', 'val' are parts.*none is there to learn from"):
        load(tmp_path)


def test_what_lies_in_no_part_is_counted(tmp_path):
    pictures(tmp_path, {"train": 3, "test": 2, "extra": 4, ".": 1})
    data = load(tmp_path)
    assert len(data) == 5
    assert loud(data) == ["5 images in no part passed over: in '.', 'extra'"]


def test_a_class_of_the_test_part_alone_is_named(tmp_path):
    pictures(tmp_path, {"train/a": 3, "train/b": 2, "test/a": 2, "test/new": 2})
    data = load(tmp_path)
    assert data.labels["test"].tolist() == [0, 0, 2, 2]
    assert loud(data) == ["no images to learn from in 'new'"]


def test_images_and_labels_are_no_classes(tmp_path):
    pictures(tmp_path, {"images/train": 3, "images/val": 2})
    (tmp_path / "labels" / "train").mkdir(parents=True)
    (tmp_path / "labels" / "train" / "0.txt").write_text("0 .5 .5 1 1", encoding="utf-8")
    data = load(tmp_path)
    assert (len(data.train), len(data.test), classes(data)) == (3, 2, None)
    assert "1 files that are no images were passed over: 1 of .txt" in data.notes


def test_masks_beside_images_are_passed_over(tmp_path):
    pictures(tmp_path, {"train/images": 3, "train/masks": 3, "val/images": 2, "val/masks": 2})
    data = load(tmp_path)
    assert (len(data.train), len(data.test), classes(data)) == (3, 2, None)
    assert loud(data) == [
        "3 images in 'masks' passed over, beside 'images'",
        "2 images in 'masks' passed over, beside 'images'",
    ]


def test_folders_around_everything_are_no_classes(tmp_path):
    pictures(tmp_path, {"set/v2/cat": 2, "set/v2/dog": 2})
    data = load(tmp_path, test=0)
    assert classes(data) == ("cat", "dog")
    assert data.notes == (
        "all images lie in the folder 'set', which is no class",
        "all images lie in the folder 'v2', which is no class",
    )
    pictures(tmp_path / "other", {"train/cat": 2, "train/dog": 1})
    assert classes(load(tmp_path / "other", test=0)) == ("cat", "dog")


# ---- classes -------------------------------------------------------------------------------------


def test_one_class_is_a_class(tmp_path):
    data = load(pictures(tmp_path, {"cat": 3}), given="label", test=0)
    assert data.given_space.variables[0].labels == ("cat",)


def test_empty_classes_and_pictures_outside_are_told(tmp_path):
    pictures(tmp_path, {"cat": 2, "dog": 2, ".": 1})
    (tmp_path / "bird").mkdir()
    data = load(tmp_path, test=0)
    assert classes(data) == ("cat", "dog")
    assert loud(data) == ["1 folder holds no images: 'bird'"]
    assert "1 image outside the folders of classes: the label is missing" in data.notes


def test_accents_are_one_name_however_they_are_written(tmp_path):
    composed, apart = (unicodedata.normalize(form, "Köln") for form in ("NFC", "NFD"))
    pictures(tmp_path, {f"train/{composed}": 2, "train/a": 2, f"test/{apart}": 2})
    data = load(tmp_path)
    assert classes(data) == ("Köln", "a")
    assert data.labels["test"].tolist() == [0, 0]


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux alone")
def test_names_that_are_no_text_can_be_written_down(tmp_path):
    pictures(tmp_path, {"a": 2})
    odd = os.fsdecode(b"caf\xe9")
    pictures(tmp_path, {odd: 2})
    data = load(tmp_path, given="label", test=0)
    assert data.given_space.variables[0].labels == ("a", "caf\\xe9")
    data.given_space.to_json().encode()


def test_odd_names_of_classes_are_kept(tmp_path):
    odd = ("a b", " a", "x=1", "100%", "[red]", "'", "1")
    pictures(tmp_path, dict.fromkeys(odd, 2))
    data = load(tmp_path, given="label", test=0)
    assert data.given_space.variables[0].labels == tuple(sorted(odd))


# ---- what is passed over -------------------------------------------------------------------------


def test_files_of_operating_systems_are_passed_over(tmp_path):
    pictures(tmp_path, {"a": 2, "b": 2, "__MACOSX/a": 2, ".thumbnails": 3, "@eaDir/a": 1})
    for name in ("._0.png", ".DS_Store"):
        (tmp_path / "a" / name).write_bytes(b"x")
    data = load(tmp_path, test=0)
    assert (len(data.train), classes(data), data.notes) == (4, ("a", "b"), ())
    for name in ("Thumbs.db", "desktop.ini"):
        (tmp_path / "b" / name).write_bytes(b"x")
    assert load(tmp_path, test=0).notes == ("2 files that are no images were passed over",)


def test_pictures_that_cannot_be_read_are_named_loudly(tmp_path):
    pictures(tmp_path, {".": 2})
    for name in ("a.HEIC", "b.heic", "c.csv"):
        (tmp_path / name).write_bytes(b"x")
    data = load(tmp_path, test=0)
    assert loud(data) == [
        "3 files that are no images were passed over: 2 of .heic, 1 of .csv (.heic cannot be read)"
    ]


def test_most_files_decide_what_a_folder_holds(tmp_path):
    pictures(tmp_path, {".": 1})
    for i in range(3):
        (tmp_path / f"{i}.wav").write_bytes(b"RIFF")
    with pytest.raises(BadData, match=r"the sound cannot be read .*0\.wav"):
        load(tmp_path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads all")
def test_a_folder_that_may_not_be_read_is_named(tmp_path):
    pictures(tmp_path, {"a": 2, "b": 2})
    (tmp_path / "b").chmod(0)
    try:
        with pytest.raises(BadData, match=r"the folder cannot be read: permission denied.*b"):
            load(tmp_path)
    finally:
        (tmp_path / "b").chmod(0o700)
