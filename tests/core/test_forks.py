"""A model that was made before a fork answers in the child, also where its parent computed in several threads."""

import os
import subprocess
import sys

import torch

from likeness.core.batch import Batch
from likeness.core.space import vector
from likeness.data.source import Table
from likeness.learn.run import Run
from likeness.registry import families

AFTER_A_PARENT_OF_TWO_THREADS = """
import os, signal, torch
import likeness.core.switch
torch.set_num_threads(2)
a = torch.ones(600, 600)
b = a @ a
(a[None].expand(9, -1, -1) + 1).exp().sum()
pid = os.fork()
if pid == 0:
    signal.alarm(30)
    c = a @ a
    (a[None].expand(9, -1, -1) + 1).exp().sum()
    os._exit(0 if torch.equal(b, c) and torch.get_num_threads() == 1 else 1)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


def test_a_model_answers_the_same_in_a_forked_child():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(64, 3, generator=g)
    model = families.build("flow", {"layers": 2, "hidden": (16,)}, vector(3), seed=0)
    Run(model, Table(vector(3), Batch(x)), 3).fit()
    scores = model.log_prob(x).value
    draws = model.sample(5, seed=1).x
    pid = os.fork()
    if pid == 0:
        same = torch.equal(model.log_prob(x).value, scores)
        same = same and torch.equal(model.sample(5, seed=1).x, draws)
        os._exit(0 if same else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_child_does_not_wait_for_threads_that_a_fork_left_behind():
    words = [sys.executable, "-c", AFTER_A_PARENT_OF_TWO_THREADS]
    assert subprocess.run(words, timeout=120, check=False).returncode == 0
