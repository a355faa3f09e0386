"""WAV files: samples of any common width as numbers whose full scale is 1, and back.

IBM & Microsoft 1991, Multimedia Programming Interface and Data Specifications 1.0; Microsoft 2007,
Multiple Channel Audio Data and WAVE Files; EBU Tech 3306 (RF64).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from likeness.core.errors import BadData
from likeness.data.arrays import Array
from likeness.data.limits import read_bytes

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
ORDERS = {b"RIFF": "<", b"RF64": "<", b"RIFX": ">"}
UNKNOWN_SIZE = 0xFFFFFFFF
GUID_TAIL = bytes.fromhex("800000aa00389b71")
CODES = {
    2: "ADPCM",
    6: "A-law",
    7: "mu-law",
    0x11: "IMA ADPCM",
    0x31: "GSM",
    0x50: "MPEG",
    0x55: "MP3",
}
DEPTHS: Mapping[tuple[int, int], str] = {
    (PCM, 1): "u8",
    (PCM, 2): "i16",
    (PCM, 3): "i24",
    (PCM, 4): "i32",
    (FLOAT, 4): "f32",
    (FLOAT, 8): "f64",
}
FORMS = {depth: form for form, depth in DEPTHS.items()}
EXPANSION = 12.0  # bytes of memory for each byte of a file: float32 twice, and once more as items
ADVICE = "save it as PCM WAV of 16 bits"


@dataclass(frozen=True, eq=False)
class Sound:
    """What a WAV file holds.

    Args:
        samples: float32 (frames, channels); full scale is 1. Samples of 32 and 64 bits are rounded.
        rate: Frames a second.
        depth: How the file stores a sample: "u8", "i16", "i24", "i32", "f32" or "f64".
        missing: Frames that the head promises and the file lacks.
    """

    samples: Array
    rate: int
    depth: str
    missing: int


@dataclass(frozen=True)
class Form:
    """The form of the samples, as the chunk "fmt " says it."""

    code: int
    channels: int
    rate: int
    frame_bytes: int
    bits: int

    @property
    def sample_bytes(self) -> int:
        """The bytes of a sample's container."""
        return self.frame_bytes // self.channels


def read(file: Path) -> Sound:
    """The samples of a WAV file, its rate and depth.

    Raises:
        BadData: If it is no WAV file, holds no samples or numbers that are not finite, or is coded
            in another way than by PCM or floats.
    """
    try:
        raw = read_bytes(file, expansion=EXPANSION)
    except OSError as error:
        raise _unreadable(file, (error.strerror or str(error)).lower()) from error
    # RIFF is little-endian, RIFX big-endian, RF64 has sizes beyond 32 bits.
    order = ORDERS.get(raw[:4])
    if order is None or raw[8:12] != b"WAVE":
        raise _unreadable(file, "it is no WAV file")
    # "fmt " says how samples are stored, "data" holds them; all other chunks are passed over.
    chunks = _chunks(raw, order)
    if b"fmt " not in chunks or b"data" not in chunks:
        raise _unreadable(file, "the file is cut short or broken")
    form = _form(_body(raw, chunks[b"fmt "]), order, file)
    samples, missing = _samples(raw, chunks[b"data"], form, order)
    if not len(samples):
        raise BadData(
            "the sound holds no samples", where=str(file), do="record it again, or remove it"
        )
    if not np.isfinite(samples).all():
        frame = int(np.argwhere(~np.isfinite(samples))[0, 0])
        raise BadData(
            f"sample {frame} is no finite number", where=str(file), do="mend it, or remove the file"
        )
    return Sound(samples, form.rate, DEPTHS[form.code, form.sample_bytes], missing)


def _unreadable(file: Path, reason: str) -> BadData:
    return BadData("the sound cannot be read", where=str(file), do=f"{reason}: {ADVICE}")


# ---- chunks --------------------------------------------------------------------------------------

Chunk = tuple[int, int]  # where its body begins, and its size as the file says it


def _chunks(raw: bytes, order: str) -> dict[bytes, Chunk]:
    """The chunks up to the samples, the first of each name."""
    chunks: dict[bytes, Chunk] = {}
    # 12 bytes of head: RIFF, size, WAVE.
    at = 12
    # A chunk is a name of four characters, its size in 4 bytes, and its body.
    while at + 8 <= len(raw) and _is_name(raw[at : at + 4]) and b"data" not in chunks:
        name, (size,) = raw[at : at + 4], struct.unpack(f"{order}I", raw[at + 4 : at + 8])
        # RF64 keeps the real size in the chunk ds64; streams leave it open.
        if name == b"data" and size == UNKNOWN_SIZE:
            size = _long_size(raw, chunks.get(b"ds64"), len(raw) - at - 8)
        chunks.setdefault(name, (at + 8, size))
        at = _next(raw, at + 8 + size, odd=size % 2 == 1)
    return chunks


def _long_size(raw: bytes, chunk: Chunk | None, rest: int) -> int:
    """The size of samples beyond 4 GiB; the rest of the file where nothing says it: a stream."""
    # ds64: the RIFF size in 8 bytes, then the data size in 8.
    body = b"" if chunk is None else _body(raw, chunk)
    return rest if len(body) < 16 else int(struct.unpack("<Q", body[8:16])[0])


def _next(raw: bytes, end: int, *, odd: bool) -> int:
    """Where the next chunk begins: odd ones end in a byte of padding, which some writers forget."""
    if not odd:
        return end
    # A padding byte is missing where a name already stands at the odd place.
    forgotten = _is_name(raw[end : end + 4]) and not _is_name(raw[end + 1 : end + 5])
    return end if forgotten else end + 1


def _is_name(name: bytes) -> bool:
    return len(name) == 4 and all(32 <= byte < 127 for byte in name)


def _body(raw: bytes, chunk: Chunk) -> bytes:
    start, size = chunk
    return raw[start : start + size]


# ---- samples -------------------------------------------------------------------------------------


def _form(body: bytes, order: str, file: Path) -> Form:
    if len(body) < 16:
        raise _unreadable(file, "its header is cut short")
    # WAVEFORMAT: format tag, channels, frames/s, bytes/s, bytes a frame, bits a sample.
    code, channels, rate, _, frame_bytes, bits = struct.unpack(f"{order}HHIIHH", body[:16])
    # WAVEFORMATEXTENSIBLE: the real tag opens the sub-format's GUID.
    if code == EXTENSIBLE and len(body) >= 40 and body[32:40] == GUID_TAIL:
        (code,) = struct.unpack(f"{order}I", body[24:28])
    if code not in {PCM, FLOAT}:
        name = CODES.get(code, f"code {code:#06x} of the header")
        raise BadData(f"a sound coded in {name}", where=str(file), do=ADVICE)
    form = Form(code, channels, rate, frame_bytes, bits)
    # A header whose fields contradict each other would give noise, not sound.
    if not channels or not rate or frame_bytes % channels or not 0 < bits <= 8 * form.sample_bytes:
        raise _unreadable(file, "its header contradicts itself")
    # 8 bits or fewer in wider containers: which bits count is not certain.
    loose = form.sample_bytes > 1 and bits <= 8
    if (code, form.sample_bytes) not in DEPTHS or loose:
        kind = "floating" if code == FLOAT else "whole"
        raise BadData(
            f"a sound of {kind} numbers of {bits} bits in {form.sample_bytes} bytes",
            where=str(file),
            do=ADVICE,
        )
    return form


def _samples(raw: bytes, chunk: Chunk, form: Form, order: str) -> tuple[Array, int]:
    """Whole frames, float32 (frames, channels), and how many more the head promises."""
    start, size = chunk
    # Whole frames that are really there, (frames * channels,).
    frames = max(min(size, len(raw) - start), 0) // form.frame_bytes
    count = frames * form.channels
    values = _unpacked(raw, count, start, form, order)
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = values.astype(np.float32)
    # Full scale becomes 1; unsigned bytes are centred at 128.
    if form.code == PCM:
        scaled -= 128 if form.sample_bytes == 1 else 0
        scaled /= 2.0 ** (8 * values.itemsize - 1)
    promised = -(-size // form.frame_bytes)
    return scaled.reshape(frames, form.channels), promised - frames


def _unpacked(raw: bytes, count: int, start: int, form: Form, order: str) -> Array:
    """So many samples from a place on, in the file's own type (N,)."""
    # 24 bits have no type of numpy's: widened to 32.
    if form.code == PCM and form.sample_bytes == 3:
        packed = np.frombuffer(raw, "u1", count * 3, start).reshape(count, 3)
        return _of_24_bits(packed if order == "<" else packed[:, ::-1])
    # 8 bits are unsigned, wider PCM is signed.
    whole = "u" if form.sample_bytes == 1 else "i"
    kind = "f" if form.code == FLOAT else whole
    return np.frombuffer(raw, f"{order}{kind}{form.sample_bytes}", count, start)


def _of_24_bits(packed: Array) -> Array:
    """Whole numbers of 24 bits, their lowest byte first, as the upper bytes of int32 (N,)."""
    # Sign and scale stay right in the upper three bytes of little-endian int32.
    wide = np.zeros((len(packed), 4), dtype="u1")
    wide[:, 1:] = packed
    return wide.view("<i4")[:, 0]


# ---- writing -------------------------------------------------------------------------------------


def encode(samples: Array, *, rate: int, depth: str) -> tuple[bytes, int]:
    """A WAV file of one channel, and how many samples were beyond full scale and are clipped.

    Args:
        samples: (frames,); full scale is 1.
        rate: Frames a second.
        depth: How a sample is stored, as `Sound.depth`.
    """
    code, width = FORMS[depth]
    clipped = 0
    if code == FLOAT:
        body = samples.astype(f"<f{width}").tobytes()
    else:
        # PCM: scaled by 2^(bits - 1), rounded, clipped to the type's range.
        top = 2.0 ** (8 * width - 1)
        levels = np.round(samples.astype(np.float64) * top)
        clipped = int(((levels < -top) | (levels > top)).sum())
        body = _packed(levels.clip(-top, top - 1), width)
    head = struct.pack("<HHIIHH", code, 1, rate, rate * width, width, 8 * width)
    # Floats need a fact chunk, and an extension size in fmt.
    chunks = [(b"fmt ", head), (b"data", body)]
    if code == FLOAT:
        chunks = [
            (b"fmt ", head + b"\0\0"),
            (b"fact", struct.pack("<I", len(samples))),
            (b"data", body),
        ]
    # Every chunk is padded to an even size.
    parts = [
        name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)
        for name, content in chunks
    ]
    whole = b"WAVE" + b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(whole)) + whole, clipped


def _packed(levels: Array, width: int) -> bytes:
    """Whole numbers in so many bytes, the lowest first; of one byte they count from -128."""
    if width == 1:
        return (levels + 128).astype("u1").tobytes()
    if width == 3:
        return levels.astype("<i4").view("u1").reshape(-1, 4)[:, :3].tobytes()
    return levels.astype(f"<i{width}").tobytes()
