"""One thread a worker: several workers share the machine, and a second thread each would only wait."""

import torch

torch.set_num_threads(1)
