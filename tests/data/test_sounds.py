"""Sounds: every common form of WAV is read as others read it, and written back as it was."""

import struct
import warnings

import numpy as np
import pytest
import torch
from scipy.io import wavfile

from likeness.api import load
from likeness.core.batch import as_batch
from likeness.core.draws import Draws
from likeness.core.errors import BadData, LikenessError
from likeness.data.source import Loud
from likeness.data.wav import DEPTHS, encode, read

SINE = 0.5 * np.sin(0.1 * np.arange(801))
TAIL = bytes.fromhex("000000001000800000aa00389b71")


def packed(x, bits, *, floating=False, order="<"):
    """Samples in [-1, 1) as the bytes of a WAV file."""
    if floating:
        return x.astype(f"{order}f{bits // 8}").tobytes()
    if bits == 8:
        return np.round(x * 127 + 128).astype("u1").tobytes()
    wide = np.round(x * (2.0 ** (bits - 1) - 1)).astype(f"{order}i{4 if bits == 24 else bits // 8}")
    if bits != 24:
        return wide.tobytes()
    kept = slice(0, 3) if order == "<" else slice(1, 4)
    return wide.view("u1").reshape(-1, 4)[:, kept].tobytes()


def chunk(name, body, order="<", size=None):
    pad = b"\0" * (len(body) % 2)
    return name + struct.pack(f"{order}I", len(body) if size is None else size) + body + pad


def riff(*chunks, order="<", name=None):
    body = b"WAVE" + b"".join(chunks)
    return (
        (name or {"<": b"RIFF", ">": b"RIFX"}[order]) + struct.pack(f"{order}I", len(body)) + body
    )


def form(bits, *, code=1, channels=1, rate=8000, order="<", more=b""):
    width = channels * -(-bits // 8)
    values = (code, channels, rate, rate * width, width, bits)
    return chunk(b"fmt ", struct.pack(f"{order}HHIIHH", *values) + more, order)


def extensible(bits, code=1):
    more = struct.pack("<HHIH", 22, bits, 4, code) + TAIL
    return form(bits, code=0xFFFE, more=more)


def wav(bits, x=SINE, *, floating=False, order="<", **options):
    code = 3 if floating else 1
    body = packed(x, bits, floating=floating, order=order)
    return riff(
        form(bits, code=code, order=order, **options), chunk(b"data", body, order), order=order
    )


def loud(data):
    return [note for note in data.notes if isinstance(note, Loud)]


def full_scale(samples):
    """What SciPy reads, scaled to 1."""
    if samples.dtype.kind == "f":
        return samples
    if samples.dtype == np.uint8:
        return (samples.astype(float) - 128) / 128
    return samples / 2.0 ** (8 * samples.dtype.itemsize - 1)


# ---- forms ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("bits", "floating", "depth"),
    [
        (8, False, "u8"),
        (16, False, "i16"),
        (24, False, "i24"),
        (32, False, "i32"),
        (32, True, "f32"),
        (64, True, "f64"),
    ],
)
def test_every_width_is_read_as_scipy_reads_it(tmp_path, bits, floating, depth, order):
    file = tmp_path / "0.wav"
    file.write_bytes(wav(bits, floating=floating, order=order))
    sound = read(file)
    rate, expected = wavfile.read(file)
    assert (sound.rate, sound.depth, sound.missing) == (rate, depth, 0)
    np.testing.assert_allclose(sound.samples[:, 0], full_scale(expected), rtol=1e-7)
    assert np.abs(sound.samples[:, 0] - SINE).max() < (0.01 if bits == 8 else 1e-4)


@pytest.mark.parametrize("bits", [16, 24])
def test_an_extensible_header_changes_nothing(tmp_path, bits):
    file = tmp_path / "0.wav"
    file.write_bytes(riff(extensible(bits), chunk(b"data", packed(SINE, bits))))
    assert np.abs(read(file).samples[:, 0] - SINE).max() < 1e-4


def test_bits_below_the_width_stand_at_the_top(tmp_path):
    file = tmp_path / "0.wav"
    body = (np.round(SINE * 2047).astype("<i2") * 16).tobytes()
    file.write_bytes(riff(form(12), chunk(b"data", body)))
    assert np.abs(read(file).samples[:, 0] - SINE).max() < 1e-3


def test_chunks_of_odd_sizes_and_others_are_stepped_over(tmp_path):
    file = tmp_path / "0.wav"
    data = chunk(b"data", packed(SINE, 16))
    whole = riff(
        chunk(b"LIST", b"odd"), form(16), chunk(b"junk", bytes(5)), data, chunk(b"id3 ", b"x")
    )
    file.write_bytes(whole)
    assert np.abs(read(file).samples[:, 0] - SINE).max() < 1e-4
    unpadded = b"LIST" + struct.pack("<I", 3) + b"odd"
    file.write_bytes(riff(unpadded, form(16), data))
    assert np.abs(read(file).samples[:, 0] - SINE).max() < 1e-4


def test_streams_and_long_files_say_their_length_elsewhere(tmp_path):
    file = tmp_path / "0.wav"
    body = packed(SINE, 16)
    file.write_bytes(riff(form(16), chunk(b"data", body, size=0xFFFFFFFF)))
    assert (len(read(file).samples), read(file).missing) == (801, 0)
    sizes = chunk(b"ds64", struct.pack("<QQQI", 0, len(body), 801, 0))
    rest = chunk(b"data", body, size=0xFFFFFFFF) + chunk(b"LIST", b"tail")
    file.write_bytes(riff(sizes, form(16), rest, name=b"RF64"))
    assert (len(read(file).samples), read(file).missing) == (801, 0)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (b"", "no WAV file"),
        (b"RIFF", "no WAV file"),
        (b"fLaC" + bytes(99), "no WAV file"),
        (riff(form(16)), "cut short or broken"),
        (riff(chunk(b"data", bytes(8))), "cut short or broken"),
        (riff(chunk(b"fmt ", bytes(8)), chunk(b"data", bytes(8))), "header is cut short"),
        (riff(form(8, code=7), chunk(b"data", bytes(8))), "coded in mu-law"),
        (riff(form(4, code=2), chunk(b"data", bytes(8))), "coded in ADPCM"),
        (riff(form(8, code=999), chunk(b"data", bytes(8))), "coded in code 0x03e7"),
        (riff(form(16, channels=0), chunk(b"data", bytes(8))), "contradicts itself"),
        (riff(form(16, rate=0), chunk(b"data", bytes(8))), "contradicts itself"),
        (riff(form(16, code=3), chunk(b"data", bytes(8))), "floating numbers of 16 bits"),
        (riff(form(64), chunk(b"data", bytes(8))), "whole numbers of 64 bits"),
        (riff(form(16), chunk(b"data", b"")), "holds no samples"),
        (wav(32, np.array([0.0, np.nan]), floating=True), "sample 1 is no finite number"),
        (wav(64, np.array([1e300, 0]), floating=True), "sample 0 is no finite number"),
    ],
)
def test_what_is_not_read_is_said(tmp_path, made, words):
    (tmp_path / "0.wav").write_bytes(made)
    with pytest.raises(BadData, match=rf"(?s){words}.*") as refused:
        load(tmp_path)
    assert "0.wav" in str(refused.value)


# ---- what is missing or changed ------------------------------------------------------------------


@pytest.mark.parametrize(("channels", "cut"), [(1, 401), (1, 400), (2, 402), (2, 403)])
def test_a_sound_cut_short_is_read_as_far_as_it_goes(tmp_path, channels, cut):
    whole = wav(16, np.repeat(SINE[:800], channels), channels=channels)
    for i in range(4):
        (tmp_path / f"{i}.wav").write_bytes(whole[:-cut] if i == 3 else whole)
    data = load(tmp_path, test=0)
    kept = (1600 * channels - cut) // (2 * channels)
    assert data.train.batch.length.tolist() == [800, 800, 800, kept]
    assert loud(data)[0] == (
        f"1 sound cut short ('3.wav'): {800 - kept} samples that their heads promise are missing"
    )
    np.testing.assert_allclose(data.train.batch.x[3, :kept, 0], SINE[:kept], atol=1e-4)


def test_channels_are_averaged_with_a_note(tmp_path):
    both = np.stack([SINE, -SINE / 2], 1).ravel()
    (tmp_path / "0.wav").write_bytes(wav(16, both, channels=2))
    (tmp_path / "1.wav").write_bytes(wav(16))
    data = load(tmp_path, test=0)
    np.testing.assert_allclose(data.train.batch.x[0, 0], SINE / 4, atol=1e-4)
    assert loud(data) == [
        "1 sound of several channels ('0.wav'): the channels are averaged into one"
    ]


def test_floats_beyond_full_scale_are_kept_with_a_note(tmp_path):
    for i in range(2):
        (tmp_path / f"{i}.wav").write_bytes(wav(32, 4 * SINE[:63], floating=True))
    data = load(tmp_path, test=0)
    assert float(data.train.batch.x.max()) == pytest.approx(2.0, abs=1e-3)
    assert data.notes == ("2 sounds beyond full scale ('0.wav', '1.wav'): up to 1.99985 times",)


def test_unlike_rates_name_a_file_and_count_the_others(tmp_path):
    for i, rate in enumerate((8000, 8000, 8000, 44100, 16000)):
        (tmp_path / f"{i}.wav").write_bytes(wav(16, rate=rate))
    with pytest.raises(BadData, match="44100 Hz among sounds of 8000 Hz") as refused:
        load(tmp_path)
    assert refused.value.where.endswith("3.wav")
    assert refused.value.what.endswith("(and 1 other of other rates)")


def test_unlike_lengths_are_told(tmp_path):
    for i in range(3):
        (tmp_path / f"{i}.wav").write_bytes(wav(16, SINE[: 50 + i]))
    assert load(tmp_path).notes == ("sounds of 50 to 52 samples: read as series of unlike lengths",)


def test_sounds_asked_about_are_held_to_the_rate_and_length_that_were_learned(tmp_path):
    (tmp_path / "data").mkdir()
    for i in range(3):
        (tmp_path / "data" / f"{i}.wav").write_bytes(wav(16))
    space = load(tmp_path / "data").space
    assert as_batch(space, tmp_path / "data").x.shape == (3, 1, 801)
    (tmp_path / "fast.wav").write_bytes(wav(16, rate=44100))
    with pytest.raises(BadData, match=r"44100 Hz where sounds of 8000 Hz were learned.*fast\.wav"):
        as_batch(space, tmp_path / "fast.wav")
    (tmp_path / "short.wav").write_bytes(wav(16, SINE[:9]))
    with pytest.raises(BadData, match=r"9 samples where each has 801.*short\.wav"):
        as_batch(space, tmp_path / "short.wav")
    (tmp_path / "cut.wav").write_bytes(wav(16, np.append(SINE, 0))[:-2])
    with pytest.warns(UserWarning, match=r"1 sound cut short \('cut\.wav'\): 1 samples"):
        as_batch(space, tmp_path / "cut.wav")


def test_one_length_is_read_into_a_space_of_many(tmp_path):
    for i in range(3):
        (tmp_path / f"{i}.wav").write_bytes(wav(16, SINE[: 50 + i]))
    space = load(tmp_path).space
    for i in range(3):
        (tmp_path / f"{i}.wav").write_bytes(wav(16, SINE[:50]))
    assert as_batch(space, tmp_path).length.tolist() == [50] * 3


def test_parts_and_classes_of_sounds(tmp_path):
    for part, name, n in (("train", "a", 3), ("train", "b", 2), ("test", "b", 1)):
        (tmp_path / part / name).mkdir(parents=True)
        for i in range(n):
            (tmp_path / part / name / f"{i}.wav").write_bytes(wav(16))
    data = load(tmp_path, given="label")
    assert (len(data.train), len(data.test)) == (5, 1)
    assert data.test.batch.given.x.tolist() == [[1]]
    assert data.given_space.variables[0].labels == ("a", "b")


# ---- writing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", DEPTHS.values())
def test_sounds_are_written_at_the_rate_and_depth_that_were_read(tmp_path, depth):
    (tmp_path / "in").mkdir()
    for i in range(2):
        made, clipped = encode(SINE * (1 + i) / 2, rate=11025, depth=depth)
        (tmp_path / "in" / f"{i}.wav").write_bytes(made)
        assert clipped == 0
    data = load(tmp_path / "in", test=0)
    Draws(data.train.batch.x, data.space, "test", 7).save(tmp_path / "out.wav")
    for i in range(2):
        written = tmp_path / f"out-000{i}.wav"
        if depth not in {"i32", "f64"}:  # which single precision rounds
            assert written.read_bytes() == (tmp_path / "in" / f"{i}.wav").read_bytes()
        rate, samples = wavfile.read(written)
        assert rate == 11025
        np.testing.assert_allclose(
            full_scale(samples), SINE * (1 + i) / 2, atol=0.01 if depth == "u8" else 1e-4
        )


def test_the_widest_depth_of_all_is_written(tmp_path):
    (tmp_path / "0.wav").write_bytes(wav(16))
    (tmp_path / "1.wav").write_bytes(wav(24))
    assert load(tmp_path).space.depth == "i24"


def test_samples_beyond_full_scale_are_clipped_with_a_warning(tmp_path):
    (tmp_path / "0.wav").write_bytes(wav(16))
    (tmp_path / "1.wav").write_bytes(wav(16))
    space = load(tmp_path).space
    x = torch.zeros(1, 1, 801)
    x[0, 0, :3] = torch.tensor([1.5, -1.5, 1.0])
    with pytest.warns(UserWarning, match="2 samples beyond full scale"):
        Draws(x, space, "test", 7).save(tmp_path / "out.wav")
    assert wavfile.read(tmp_path / "out.wav")[1][:4].tolist() == [32767, -32768, 32767, 0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loose = space.model_copy(update={"depth": "f32"})
        Draws(x, loose, "test", 7).save(tmp_path / "out.wav")
    assert wavfile.read(tmp_path / "out.wav")[1][:3].tolist() == [1.5, -1.5, 1.0]


def test_what_is_no_sound_is_not_written(tmp_path):
    data = load(np.random.default_rng(0).normal(size=(20, 5)))
    with pytest.raises(LikenessError, match="without a sampling rate"):
        Draws(data.train.batch.x, data.space, "test", 7).save(tmp_path / "out.wav")
