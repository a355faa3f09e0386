"""Every comparison with a peer, one after the other: `python -m bench`; alone: `python -m bench.flow`.

Figures are ratios in one run, one thread, processor time; densities and binary sets have commands of their own
(`python -m bench.density --help`, `python -m bench.binary --help`). What reads a set from the folder that LIKENESS_DATA
names is left out where it names none.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys

# kde, pca and discriminant are in `classical`, bayes_net in `trees`, markov and linear_dynamical in `chains`, vi in
# `bounds`.
PEERS = ("flow", "vae", "mixture", "classical", "hmm", "trees", "chains", "bounds")
OF_SETS = ("crf", "topics", "forecast")
FOLDER = "LIKENESS_DATA"


def run(name: str) -> None:
    """One comparison by its defaults, or a line that says why it is left out."""
    if name in OF_SETS and not os.environ.get(FOLDER):
        print(f"skipped: it reads a data set, and {FOLDER} names no folder", flush=True)
        return
    sys.argv = [name]
    importlib.import_module(f"bench.{name}").main()


def main() -> None:
    """Run the comparisons that were named, or all."""
    every = (*PEERS, *OF_SETS)
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", default=every, help=f"among {', '.join(every)}")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    chosen = parser.parse_args()
    if chosen.device == "cuda":
        parser.error("no comparison runs on a GPU yet")
    strange = [name for name in chosen.names if name not in every]
    if strange:
        parser.error(f"there is no comparison {strange[0]!r}: name some of {', '.join(every)}")
    for name in chosen.names:
        print(f"\n== {name} ==", flush=True)
        run(name)


if __name__ == "__main__":
    main()
