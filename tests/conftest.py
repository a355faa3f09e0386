"""What holds in every test: one thread a worker, and a terminal that can hang up."""

import signal

import torch

# Several workers share the machine, and a second thread each would only wait
torch.set_num_threads(1)

# A suite in the background, or one that is to outlive its terminal, ignores what stops a process, and so would
# every process of its tests
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
