"""Picture files: pixels are those that a viewer shows, and what cannot be read is named."""

import struct
import time
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from likeness.api import load
from likeness.core.batch import as_batch
from likeness.core.errors import BadData
from likeness.core.space import image
from likeness.data.images import read_folder
from likeness.data.pictures import PIXELS_MOST, SUFFIXES, head, pixels
from likeness.data.source import Loud

LOSSLESS = ("png", "tif", "bmp", "gif", "webp", "ppm")


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def planes(values):
    """(H, W, C) or (H, W) as (C, H, W)."""
    return np.moveaxis(values if values.ndim == 3 else values[..., None], -1, 0)


def loud(notes):
    return [note for note in notes if isinstance(note, Loud)]


def chunk(name, body):
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(width, height, depth, colour, rows, *more):
    """A PNG of raw rows, each of which begins with its filter."""
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = chunk(b"IHDR", head) + b"".join(more) + chunk(b"IDAT", zlib.compress(rows, 9))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


# ---- orientation ---------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tif", "webp", "jpg"])
def test_pictures_are_upright_whatever_their_orientation(tmp_path, suffix, orientation):
    upright = noise(16, 24, 3) // 16 + np.arange(24, dtype=np.uint8)[None, :, None] * 8
    undone = {5: 5, 6: 8, 8: 6}.get(orientation, orientation)  # the turn that `orientation` undoes
    tag = Image.Exif()
    tag[0x0112] = undone
    stored = Image.fromarray(upright)
    stored.getexif()[0x0112] = undone
    stored = ImageOps.exif_transpose(stored)
    tag[0x0112] = orientation
    options = {"lossless": True} if suffix == "webp" else {}
    stored.save(tmp_path / f"0.{suffix}", exif=tag, quality=100, **options)
    found = head(tmp_path / f"0.{suffix}")
    assert (found.size, found.turned) == ((16, 24), orientation != 1)
    made = pixels(tmp_path / f"0.{suffix}", channels=3)
    off = np.abs(made.astype(int) - planes(upright)).max()
    assert off <= (60 if suffix == "jpg" else 0)
    if suffix == "jpg":
        with Image.open(tmp_path / "0.jpg") as shown:
            np.testing.assert_array_equal(made, planes(np.asarray(ImageOps.exif_transpose(shown))))


def test_turned_pictures_of_one_shown_size_are_read_together(tmp_path):
    for i in range(4):
        sky = np.full((16, 24, 3), 30, np.uint8)
        sky[:8] = 220
        stored = Image.fromarray(sky)
        tag = Image.Exif()
        if i % 2:
            stored = stored.transpose(Image.Transpose.ROTATE_90)
            tag[0x0112] = 6
        stored.save(tmp_path / f"{i}.jpg", exif=tag, quality=95)
    data = load(tmp_path, test=0)
    x = data.train.batch.x
    assert x.shape == (4, 3, 16, 24)
    assert x[:, :, :8].mean() > 200 > 50 > x[:, :, 8:].mean()
    assert data.notes == ("2 images turned upright, as the orientation in the file (EXIF) says",)


def test_an_orientation_behind_the_pixels_is_heeded(tmp_path):
    tag = Image.Exif()
    tag[0x0112] = 3
    values = noise(4, 6)
    rows = b"".join(b"\0" + bytes(row) for row in values)
    whole = png(6, 4, 8, 0, rows)
    exif = chunk(b"eXIf", tag.tobytes()[6:])
    (tmp_path / "0.png").write_bytes(whole[:-12] + exif + whole[-12:])
    np.testing.assert_array_equal(pixels(tmp_path / "0.png", channels=1)[0], values[::-1, ::-1])


def test_a_broken_orientation_says_nothing(tmp_path):
    values = noise(4, 6)
    rows = b"".join(b"\0" + bytes(row) for row in values)
    (tmp_path / "0.png").write_bytes(png(6, 4, 8, 0, rows, chunk(b"eXIf", b"MM\0*broken")))
    np.testing.assert_array_equal(pixels(tmp_path / "0.png", channels=1)[0], values)


# ---- colours -------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_grey_is_one_channel_and_keeps_its_levels(tmp_path, suffix):
    if suffix == "webp":
        pytest.skip("WebP has no grey")
    values = noise(5, 7)
    Image.fromarray(values).save(tmp_path / f"0.{suffix}")
    table = read_folder(tmp_path, name="x").parts["all"]
    assert table.space == image(1, 5, 7)
    np.testing.assert_array_equal(table.batch.x[0, 0].numpy(), values)


@pytest.mark.parametrize("suffix", ["png", "gif", "bmp", "tif"])
def test_a_palette_of_greys_is_grey(tmp_path, suffix):
    values = noise(5, 7) // 64
    greys = np.array([3, 250, 90, 17], np.uint8)
    picture = Image.fromarray(values, "P")
    picture.putpalette(np.repeat(greys, 3).tobytes())
    picture.save(tmp_path / f"0.{suffix}")
    assert head(tmp_path / f"0.{suffix}").grey
    np.testing.assert_array_equal(pixels(tmp_path / f"0.{suffix}", channels=1)[0], greys[values])


@pytest.mark.parametrize("suffix", ["png", "gif", "bmp", "tif"])
def test_a_palette_of_colours_is_three_channels(tmp_path, suffix):
    values = noise(5, 7) // 64
    colours = noise(4, 3, seed=1)
    picture = Image.fromarray(values, "P")
    picture.putpalette(colours.tobytes())
    picture.save(tmp_path / f"0.{suffix}")
    table = read_folder(tmp_path, name="x").parts["all"]
    np.testing.assert_array_equal(table.batch.x[0].numpy(), planes(colours[values]))


def test_one_bit_is_black_and_white(tmp_path):
    values = noise(5, 7) > 127
    for suffix in ("png", "pbm", "bmp", "tif", "gif"):
        folder = tmp_path / suffix
        folder.mkdir()
        Image.fromarray(values).save(folder / f"0.{suffix}")
        table = read_folder(folder, name="x").parts["all"]
        assert table.space == image(1, 5, 7, levels=2)
        np.testing.assert_array_equal(table.batch.x[0, 0].numpy(), values)


def test_colours_of_print_are_read_as_rgb_with_a_note(tmp_path):
    Image.new("RGB", (8, 8), (200, 30, 30)).convert("CMYK").save(tmp_path / "0.jpg", quality=95)
    data = read_folder(tmp_path, name="x")
    assert np.abs(data.parts["all"].batch.x[0, :, 0, 0].numpy() - [200, 30, 30]).max() <= 3
    assert data.notes == ("1 image in CMYK read as RGB",)


def sixteen_bits(colour, channels):
    row = b"\0" + np.arange(4 * channels, dtype=">u2").tobytes()
    return png(4, 4, 16, colour, row * 4)


def deep_files():
    grey = np.full((4, 4), 40000, dtype=np.uint16)
    plain = b"P6 4 4 65535\n" + bytes(96)
    return {
        "grey.png": sixteen_bits(0, 1),
        "rgb.png": sixteen_bits(2, 3),
        "greyalpha.png": sixteen_bits(4, 2),
        "rgba.png": sixteen_bits(6, 4),
        "grey.tif": Image.fromarray(grey),
        "float.tif": Image.fromarray(grey.astype(np.float32)),
        "long.tif": Image.fromarray(grey.astype(np.int32)),
        "rgb.ppm": plain,
        "plain.ppm": b"P3 1 1 1023 1 2 3",
        "grey.pgm": b"P5 4 4 65535\n" + bytes(32),
    }


@pytest.mark.parametrize("name", deep_files())
def test_more_than_8_bits_are_refused_and_never_cut_down(tmp_path, name):
    made = deep_files()[name]
    if isinstance(made, bytes):
        (tmp_path / name).write_bytes(made)
    else:
        made.save(tmp_path / name)
    with pytest.raises(BadData, match=rf"more than 8 bits.*{name}"):
        load(tmp_path)


def test_coarse_levels_are_spread_from_black_to_white(tmp_path):
    rows = b"".join(b"\0" + bytes([0b00011011]) for _ in range(4))
    (tmp_path / "0.png").write_bytes(png(4, 4, 2, 0, rows))
    assert pixels(tmp_path / "0.png", channels=1)[0, 0].tolist() == [0, 85, 170, 255]


# ---- transparency --------------------------------------------------------------------------------


def clear(seed=0):
    """Colours that nobody sees around a red square."""
    values = noise(8, 8, 4, seed=seed)
    values[..., 3] = 0
    values[2:6, 2:6] = (200, 10, 10, 255)
    return values


def palette(folder, name):
    picture = Image.fromarray((clear()[..., 3] > 0).astype(np.uint8), "P")
    picture.putpalette([0, 255, 0, 200, 10, 10])
    picture.save(folder / name, transparency=0)


@pytest.mark.parametrize("name", ["0.png", "0.gif"])
def test_a_palette_with_a_clear_entry_has_four_channels(tmp_path, name):
    palette(tmp_path, name)
    x = read_folder(tmp_path, name="x").parts["all"].batch.x[0].numpy()
    assert x[:, 0, 0].tolist() == [0, 255, 0, 0]
    assert x[:, 3, 3].tolist() == [200, 10, 10, 255]


def test_a_clear_colour_or_grey_level_has_four_channels(tmp_path):
    for name, colour, row in (
        ("l.png", 0, b"\x07\x09"),
        ("rgb.png", 2, b"\x07\x07\x07\x09\x09\x09"),
    ):
        levels = 1 if colour == 0 else 3
        key = chunk(b"tRNS", b"\0\x07" * levels)
        (tmp_path / name).write_bytes(png(2, 1, 8, colour, b"\0" + row, key))
        assert head(tmp_path / name).clear
        assert pixels(tmp_path / name, channels=4)[3, 0].tolist() == [0, 255]
        assert pixels(tmp_path / name, channels=1)[0, 0].tolist() == [255, 9]


@pytest.mark.parametrize("name", ["0.png", "0.tif", "0.webp"])
def test_four_channels_are_kept_as_they_are(tmp_path, name):
    options = {"lossless": True, "exact": True} if name == "0.webp" else {}
    Image.fromarray(clear()).save(tmp_path / name, **options)
    data = read_folder(tmp_path, name="x")
    np.testing.assert_array_equal(data.parts["all"].batch.x[0].numpy(), planes(clear()))
    assert data.notes == ()


def test_grey_with_transparency_keeps_both(tmp_path):
    values = noise(4, 4, 2)
    Image.fromarray(values, "LA").save(tmp_path / "0.png")
    x = read_folder(tmp_path, name="x").parts["all"].batch.x[0].numpy()
    np.testing.assert_array_equal(x, planes(values[..., [0, 0, 0, 1]]))


def test_what_is_hidden_is_not_seen_among_pictures_without_transparency(tmp_path):
    for i in range(3):
        Image.fromarray(clear(i)).save(tmp_path / f"{i}.png")
    Image.fromarray(noise(8, 8, 3)).save(tmp_path / "z.png")
    data = read_folder(tmp_path, name="x")
    x = data.parts["all"].batch.x[:3]
    assert x.shape[1] == 3
    assert (x[:, :, :2] == 255).all()
    assert x[:, :, 3, 3].tolist() == [[200, 10, 10]] * 3
    assert loud(data.notes) == ["3 of 4 images with transparency: laid on white"]
    assert load(tmp_path, channels=4, test=0).train.batch.x[3, 3].min() == 255


# ---- frames and sizes ----------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["gif", "png", "tif", "webp"])
def test_frames_and_pages_behind_the_first_are_counted(tmp_path, suffix):
    frames = [Image.fromarray(noise(4, 4, seed=i)) for i in range(4)]
    frames[0].save(tmp_path / f"0.{suffix}", save_all=True, append_images=frames[1:], lossless=True)
    data = read_folder(tmp_path, name="x")
    np.testing.assert_array_equal(data.parts["all"].batch.x[0, 0].numpy(), noise(4, 4))
    assert loud(data.notes) == [
        f"1 image of several frames or pages, the first of which is read: 3 left out ('0.{suffix}')"
    ]


def test_unlike_sizes_name_a_file_and_count_the_others(tmp_path):
    for i in range(5):
        Image.fromarray(noise(4, 4)).save(tmp_path / f"{i}.png")
    for i, size in enumerate(((4, 6), (5, 5), (4, 6))):
        Image.fromarray(noise(*size)).save(tmp_path / f"odd{i}.png")
    with pytest.raises(BadData) as refused:
        load(tmp_path)
    assert refused.value.what == (
        "an image of 4 x 6 among images of 4 x 4 (other sizes: 2 of 4 x 6, 1 of 5 x 5)"
    )
    assert refused.value.where.endswith("odd0.png")
    assert load(tmp_path, size=4, test=0).train.batch.x.shape == (8, 1, 4, 4)


def test_a_picture_asked_about_says_how_it_was_made_to_fit(tmp_path):
    Image.fromarray(clear()).save(tmp_path / "0.png")
    with pytest.warns(UserWarning, match="") as heard:
        batch = as_batch(image(1, 4, 4), tmp_path / "0.png")
    assert batch.x.shape == (1, 1, 4, 4)
    assert [str(w.message) for w in heard] == [
        "1 of 1 image with transparency: laid on white",
        "1 image with colours read as grey",
        "1 image of other sizes resized to 4 x 4",
    ]
    with pytest.warns(UserWarning, match="the 256 levels of 1 image rounded to 2"):
        as_batch(image(4, 8, 8, levels=2), tmp_path / "0.png")
    with pytest.raises(BadData, match="items have 2 channels"):
        as_batch(image(2, 8, 8), tmp_path / "0.png")


# ---- what cannot be read -------------------------------------------------------------------------


def refused_soon(folder, words, **options):
    begun = time.process_time()
    with pytest.raises(BadData, match=words):
        load(folder, **options)
    assert time.process_time() - begun < 1


def small(folder):
    for i in range(3):
        Image.fromarray(noise(8, 8)).save(folder / f"{i}.png")


def test_a_small_file_of_huge_size_is_refused_at_once(tmp_path):
    small(tmp_path)
    for width, said in ((14_000, "196,000,000 pixels"), (9_000, "9000 x 9000 pixels")):
        head = struct.pack(">IIBBBBB", width, width, 1, 0, 0, 0, 0)
        empty = (
            chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
        )
        (tmp_path / "z.png").write_bytes(b"\x89PNG\r\n\x1a\n" + empty)
        assert width**2 > PIXELS_MOST
        refused_soon(tmp_path, rf"an image of {said}.*z\.png", size=8)


def test_the_bound_on_memory_holds_for_pictures(tmp_path):
    for i in range(3):
        Image.new("L", (1000, 1000), 7 * i).save(tmp_path / f"{i}.png")
    refused_soon(tmp_path, "reading would take about 51.0 MB", max_memory="20MB")
    assert load(tmp_path, max_memory="20MB", size=10, test=0).train.batch.x.shape == (3, 1, 10, 10)
    refused_soon(tmp_path, r"about 12.0 MB .*0\.png", max_memory="2MB", size=10)


def damaged(folder, suffix):
    """A picture, what is to be done to its bytes, and why."""
    path = folder / f"3.{suffix}"
    Image.fromarray(noise(32, 32, 3)).save(path)
    whole = path.read_bytes()
    half = len(whole) // 2
    flipped = whole[:half] + bytes([whole[half] ^ 255]) + whole[half + 1 :]
    return path, {"cut": whole[:half], "flipped": flipped, "empty": b"", "zeros": bytes(len(whole))}


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "tif", "bmp", "webp", "ppm"])
@pytest.mark.parametrize("how", ["cut", "empty", "zeros"])
def test_a_damaged_picture_is_named(tmp_path, suffix, how):
    path, harms = damaged(tmp_path, suffix)
    path.write_bytes(harms[how])
    refused_soon(tmp_path, rf"the image cannot be read .*3\.{suffix}")


def test_a_jpeg_that_ends_long_before_its_pixels_is_refused(tmp_path):
    path, _ = damaged(tmp_path, "jpg")
    whole = bytearray(path.read_bytes())
    size = whole.index(b"\xff\xc0") + 5
    whole[size : size + 4] = struct.pack(">HH", 4000, 4000)
    path.write_bytes(whole)
    refused_soon(tmp_path, r"the image cannot be read .*3\.jpg", size=8)


def test_a_changed_byte_of_a_png_is_found(tmp_path):
    path, harms = damaged(tmp_path, "png")
    path.write_bytes(harms["flipped"])
    refused_soon(tmp_path, r"the image cannot be read .*3\.png")


def test_a_picture_of_another_kind_than_its_name_says_is_read_or_refused(tmp_path):
    Image.fromarray(noise(8, 8)).save(tmp_path / "0.jpg", format="PNG")
    np.testing.assert_array_equal(pixels(tmp_path / "0.jpg", channels=1)[0], noise(8, 8))
    (tmp_path / "1.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n")
    refused_soon(tmp_path, r"the image cannot be read .*1\.png")


def test_all_suffixes_are_in_lower_case():
    assert {suffix.lower() for suffix in SUFFIXES} == SUFFIXES
