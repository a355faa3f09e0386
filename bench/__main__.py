"""Every comparison with a peer, one after the other: `python -m bench`; alone: `python -m bench.flow`.

Figures are ratios in one run, one thread, processor time; densities and binary sets have commands of their own
(`python -m bench.density --help`, `python -m bench.binary --help`).
"""

from __future__ import annotations

import argparse
import importlib
import sys

PEERS = ("flow", "vae", "mixture", "classical", "hmm")


def main() -> None:
    """Run the comparisons that were named, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=PEERS, help=f"among {', '.join(PEERS)}")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    chosen = parser.parse_args()
    if chosen.device == "cuda":
        parser.error("no comparison runs on a GPU yet")
    for name in chosen.names:
        print(f"\n== {name} ==", flush=True)
        sys.argv = [name]
        importlib.import_module(f"bench.{name}").main()


if __name__ == "__main__":
    main()
