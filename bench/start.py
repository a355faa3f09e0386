"""Processor time until help and lists are printed, beside pip's help: `python -m bench.start`.

Fresh processes in turns, medians. The aim is 0.3 s; a ratio below 1 says that we start later than the peer.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys

OURS = (("--help",), ("families",), ("families", "vae"))
PEER = ("pip", "--help")


def seconds(module: str, *words: str) -> float:
    """Processor time of a fresh process that runs a module, in seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", module, *words], capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measured(words: tuple[str, ...], repeats: int) -> str:
    """Medians of both in turns, after a turn that warms up the file system's cache."""
    pairs = [(seconds("likeness", *words), seconds(*PEER)) for _ in range(repeats + 1)][1:]
    ours = statistics.median(pair[0] for pair in pairs)
    peer = statistics.median(pair[1] for pair in pairs)
    title = " ".join(("likeness", *words))
    return f"{title:24} {ours:.3f} s, {' '.join(PEER)} {peer:.3f} s: {peer / ours:.2f} x"


def main() -> None:
    """Measure help and both lists."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=9)
    repeats = parser.parse_args().repeats
    for words in OURS:
        print(measured(words, repeats), flush=True)


if __name__ == "__main__":
    main()
