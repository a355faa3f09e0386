"""What reading may take is bounded: files that hold more than they show are refused before it is taken."""

import bz2
import gzip
import io
import lzma
import struct
import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

import likeness as lk
from likeness.core.errors import BadConfig, BadData
from likeness.data import arrayfiles, files, limits, textfile
from tests.fuzz.harness import fuzz

SMALL = "1MB"
COMPRESSIONS = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": pa.compress,
}


def compressed(suffix, raw):
    if suffix == ".zst":
        return pa.compress(raw, codec="zstd", asbytes=True)
    return COMPRESSIONS[suffix](raw)


def npy_head(shape, dtype="<f8"):
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        head, {"descr": dtype, "fortran_order": False, "shape": shape}
    )
    return head.getvalue()


@pytest.mark.parametrize(
    ("words", "size"),
    [
        ("5GB", 5e9),
        ("500 MB", 5e8),
        ("2GiB", 2 * 2**30),
        ("1.5 gb", 1.5e9),
        (1000, 1000),
        ("64k", 64e3),
    ],
)
def test_sizes_are_read_as_people_write_them(words, size):
    assert limits.parse_size(words) == size


@pytest.mark.parametrize("words", ["", "much", "-1GB", "0", "5 apples", "1e9GB", "GB"])
def test_what_is_no_size_is_refused(words):
    with pytest.raises(BadConfig, match="no size of memory"):
        lk.load(np.zeros((4, 2)), max_memory=words)


def test_a_quarter_of_the_machine_is_the_bound_unless_more_is_allowed(monkeypatch):
    monkeypatch.setattr(limits, "machine_memory", lambda: 8e9)
    assert limits.bound() == 2e9
    with limits.bounded("3GB"):
        assert limits.bound() == 3e9
        with limits.bounded(None):
            assert limits.bound() == 3e9
    assert limits.bound() == 2e9


def test_a_container_has_less_memory_than_its_machine(tmp_path, monkeypatch):
    (tmp_path / "memory.max").write_text("123456\n")
    (tmp_path / "unlimited").write_text("max\n")
    monkeypatch.setattr(
        limits, "CGROUPS", (tmp_path / "unlimited", tmp_path / "memory.max", tmp_path / "absent")
    )
    assert limits.machine_memory() == 123456


def test_an_archive_that_unpacks_to_gigabytes_is_refused_by_its_heads(tmp_path):
    path = tmp_path / "people.npz"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("x.npy", "w") as member,
    ):
        member.write(npy_head((100, 25_000), "<f4"))
        for _ in range(100):
            member.write(bytes(100_000))
    with pytest.raises(
        BadData, match=r"about 50\.0 MB of memory where 1\.0 MB are allowed .*people\.npz"
    ) as refused:
        lk.load(path, max_memory=SMALL)
    assert "max_memory='1GB'" in str(refused.value)
    assert len(lk.load(path, max_memory="51MB", test=0.0).train) == 100


def test_arrays_of_an_archive_that_are_not_asked_for_take_nothing(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, x=np.arange(12.0).reshape(6, 2), other=np.zeros(10**6))
    assert lk.load(path, max_memory=SMALL, test=0.0).train.space.shape == (2,)


@pytest.mark.parametrize("shape", [(10**15,), (10**9, 10**9), (4,), (2, 10**6)])
def test_a_head_that_claims_what_is_not_there_is_refused(tmp_path, shape):
    path = tmp_path / "x.npy"
    path.write_bytes(npy_head(shape) + bytes(24))
    with pytest.raises(
        BadData,
        match=rf"tells of {8 * int(np.prod([float(s) for s in shape])):,} bytes .*24 are there",
    ):
        arrayfiles.read_npy(path)
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.write(path, "x.npy")
    with pytest.raises(BadData, match=r"24 are there .*array 'x'"):
        arrayfiles.read_npz(tmp_path / "x.npz")


def test_a_head_longer_than_heads_are_is_not_unpacked(tmp_path):
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**29) + b" " * 2**24)
    fuzz(arrayfiles.read_npz, lambda _: path, 1, megabytes=8)
    with pytest.raises(BadData, match="broken"):
        arrayfiles.read_npz(path)


def test_idx_files_that_claim_much_are_refused(tmp_path):
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(
        gzip.compress(bytes([0, 0, 8, 3]) + struct.pack(">3I", 2**31, 2**15, 2**15) + bytes(99))
    )
    with pytest.raises(BadData, match="TB of memory"):
        arrayfiles.read_idx(path)


@pytest.mark.parametrize("suffix", COMPRESSIONS)
def test_compressed_tables_are_read(tmp_path, suffix):
    path = tmp_path / f"people.csv{suffix}"
    path.write_bytes(
        compressed(suffix, b"a,b\n" + b"".join(b"%d,%d.5\n" % (i, i * i) for i in range(50)))
    )
    assert lk.load(path, test=0.0).space.names == ("a", "b")


@pytest.mark.parametrize("suffix", COMPRESSIONS)
def test_unpacking_stops_at_the_bound(tmp_path, suffix):
    path = tmp_path / f"people.csv{suffix}"
    path.write_bytes(compressed(suffix, b"1,2\n" * 2**21))
    with limits.bounded("10MB"):
        fuzz(textfile.decode, lambda _: path, 1, megabytes=7, seconds=2.0)
        with pytest.raises(
            BadData, match=r"more than 10\.0 MB of memory where 10\.0 MB are allowed"
        ):
            textfile.decode(path)


@pytest.mark.parametrize("suffix", COMPRESSIONS)
def test_compressed_files_that_are_cut_short_are_named(tmp_path, suffix):
    path = tmp_path / f"x.csv{suffix}"
    path.write_bytes(
        compressed(suffix, bytes(np.random.default_rng(0).integers(48, 58, 9999, dtype=np.uint8)))[
            :-50
        ]
    )
    with pytest.raises(BadData, match=r"broken or cut short .*x\.csv"):
        textfile.decode(path)


def test_large_text_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "x.csv"
    path.write_bytes(b"1,2\n" * 100_000)
    with pytest.raises(BadData, match=r"about 4\.0 MB of memory"):
        lk.load(path, max_memory=SMALL)


def test_tables_of_repeated_numbers_are_refused_by_their_metadata(tmp_path):
    path = tmp_path / "x.parquet"
    pd.DataFrame({"a": np.zeros(10**6), "b": np.ones(10**6)}).to_parquet(path)
    assert path.stat().st_size < 50_000
    with pytest.raises(BadData, match=r"about 48\.\d MB of memory where 1\.0 MB"):
        lk.load(path, max_memory=SMALL)


def test_tables_of_repeated_words_are_refused_by_what_they_hold(tmp_path):
    path = tmp_path / "x.parquet"
    words = pa.DictionaryArray.from_arrays(
        pa.array([0, 1] * 50_000), ["a" * 100_000, "b" * 100_000]
    )
    parquet.write_table(
        pa.table({"word": words, "n": np.arange(100_000.0)}), path, store_schema=False
    )
    assert path.stat().st_size < 1_000_000
    fuzz(files.read_parquet, lambda _: path, 1, megabytes=64)
    with pytest.raises(BadData, match=r"more memory|of memory where"):
        files.read_parquet(path)
    assert len(files.read_parquet(_words(tmp_path))) == 100_000


def _words(folder):
    path = folder / "words.parquet"
    pd.DataFrame({"word": ["red", "green"] * 50_000}).to_parquet(path)
    return path


def test_items_of_one_long_and_many_short_are_not_laid_out_beyond_the_bound():
    items = [np.zeros(100_000), *(np.zeros(1) for _ in range(1000))]
    with pytest.raises(BadData, match=r"about 2\.4 GB of memory"):
        lk.load(items, max_memory="1GB")


def test_a_line_longer_than_all_others_is_not_laid_out_beyond_the_bound(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("a" * 100_000 + "\n" + "b\n" * 1000)
    with pytest.raises(BadData, match=r"about 2\.0 GB of memory"):
        lk.load(path, max_memory="1GB")


def test_a_bag_of_a_billion_words_is_not_laid_out(tmp_path):
    path = tmp_path / "x.ldac"
    path.write_text("1 1:3\n1 0:2000000000\n")
    places = 2 * 2_000_000_000  # both documents as long as the longer one
    taken = places * (4 + 2 * 8)  # single precision, and the two copies that reading counts on
    words = rf"about {taken / 1e9:.1f} GB of memory where 1\.0 GB are allowed .*x\.ldac, line 2\)"
    with pytest.raises(BadData, match=words):
        lk.load(path, max_memory="1GB")


def test_what_fit_and_compare_read_is_bounded(tmp_path):
    path = tmp_path / "x.csv"
    path.write_bytes(b"1,2\n" * 100_000)
    with pytest.raises(BadData, match="of memory where"):
        lk.fit("gaussian", path, max_memory=SMALL)
    with pytest.raises(BadData, match="of memory where"):
        lk.compare(path, ["gaussian"], budget=1, max_memory=SMALL)
