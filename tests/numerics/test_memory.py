"""Freed memory that the process keeps: counted in page faults, which a pass pays for what it did not keep."""

import os
import platform
import resource
import subprocess
import sys

import pytest

from likeness.numerics import memory

SCRIPT = """
import resource, sys, torch
from likeness.numerics import memory
torch.set_num_threads(1)
if sys.argv[1] == "keep":
    memory.keep()
def work():
    blocks = [torch.ones(6 * 2**20, dtype=torch.uint8) for _ in range(8)]
for _ in range(3):
    work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str, **environment: str) -> int:
    command = [sys.executable, "-c", SCRIPT, how]
    ran = subprocess.run(
        command, check=True, capture_output=True, text=True, env=os.environ | environment
    )
    return int(ran.stdout)


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="only glibc gives memory back by these thresholds"
)
def test_passes_over_the_same_memory_fault_no_more():
    pages = 10 * 8 * 6 * 2**20 // resource.getpagesize()
    assert faults("keep") < 0.02 * pages
    # Thresholds that stay where a process begins: every block comes from the system anew.
    assert faults("leave", MALLOC_MMAP_THRESHOLD_=str(2**17)) > 0.9 * pages


@pytest.mark.parametrize("numbers", [1, 100, 10_000, 1_000_000, 1 << 30])
def test_a_chunk_has_one_row_at_least_and_no_more_numbers_than_it_may(numbers):
    rows = memory.rows(numbers)
    assert rows >= 1
    assert rows == 1 or rows * numbers <= memory.MOST
    assert (
        rows * numbers <= memory.KEPT or rows <= memory.WALK
    )  # larger only where a walk would not pay
