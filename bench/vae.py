"""A VAE's training beside pythae's trainer: the same nets, rows and batches; rows a second and their ratio.

One thread, processor time, an epoch of ours after each of the peer's, medians; `python bench/vae.py 16 40` names the
sizes of the code. The peer's trainer computes in fp32; ours in fp32, by oneDNN (whose accuracy is checked) and in bf16.
"""

import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Callable

import torch
from pythae.models import VAE, VAEConfig
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from pythae.trainers.training_callbacks import TrainingCallback

import likeness.families.vae  # noqa: F401 - enters its family
from likeness import registry
from likeness.core.batch import Batch
from likeness.core.precision import exact
from likeness.core.space import binary, vector
from likeness.data.source import Table
from likeness.learn.run import Run

PIXELS, HIDDEN, BATCH, STEPS, EPOCHS = 784, 512, 128, 50, 9
PRECISIONS = ("fp32", "onednn", "bf16")


def seconds(work: Callable[[], object]) -> float:
    """Processor time of one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def ours(x: torch.Tensor, latent: int, precision: str) -> Callable[[], None]:
    """An epoch of our Run: nothing averaged, nothing clipped, no rows with holes, as the peer has it."""
    table = Table(vector(PIXELS, binary()), Batch(x))
    same = {
        "net": "mlp",
        "hidden": (HIDDEN,),
        "activation": "relu",
        "latent": latent,
        "batch": BATCH,
        "lr": 1e-3,
    }
    lean = {
        "hide": 0.0,
        "ema": 0.0,
        "clip": 0.0,
        "schedule": "constant",
        "warmup": 0,
        "precision": precision,
    }
    run = Run(registry.build("vae", {**same, **lean}, table.space), table, 10**9)

    def epoch() -> None:
        for _ in range(STEPS):
            run.step()

    return epoch


class InTurns(TrainingCallback):
    """Times each of the peer's epochs, and after it one of each of ours."""

    def __init__(self, works: dict[str, Callable[[], None]]) -> None:
        self.works, self.start = works, 0.0
        self.times: dict[str, list[float]] = {name: [] for name in ("pythae", *works)}

    def on_epoch_begin(self, training_config, **kwargs) -> None:
        self.start = time.process_time()

    def on_epoch_end(self, training_config, **kwargs) -> None:
        self.times["pythae"].append(time.process_time() - self.start)
        for name, work in self.works.items():
            self.times[name].append(seconds(work))


def measured(latent: int) -> dict[str, float]:
    """Median processor time of an epoch of each, without the first."""
    x = (
        torch.rand(STEPS * BATCH, PIXELS, generator=torch.Generator().manual_seed(0)) < 0.2
    ).float()
    turns = InTurns({f"ours {p}": ours(x, latent, p) for p in PRECISIONS})
    peer = VAE(VAEConfig(input_dim=(PIXELS,), latent_dim=latent, reconstruction_loss="bce"))
    with tempfile.TemporaryDirectory() as folder:
        config = BaseTrainerConfig(
            output_dir=folder,
            num_epochs=EPOCHS,
            per_device_train_batch_size=BATCH,
            learning_rate=1e-3,
            no_cuda=True,
        )
        BaseTrainer(peer, Peers(x), training_config=config, callbacks=[turns]).train()
    return {name: statistics.median(times[1:]) for name, times in turns.times.items()}


class Peers(torch.utils.data.Dataset):
    """Rows as the peer's loader wants them."""

    def __init__(self, x: torch.Tensor) -> None:
        self.x = x

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> dict[str, torch.Tensor]:
        return {"data": self.x[i], "labels": torch.zeros(1)}


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    logging.disable(logging.INFO)
    print(f"oneDNN keeps fp32 accuracy here: {exact()}")
    for latent in [int(a) for a in sys.argv[1:]] or [16]:
        found = measured(latent)
        for name, time_of in found.items():
            rate = STEPS * BATCH / time_of
            print(
                f"code of {latent:3}  {name:12} {rate:9.0f} rows/s  {found['pythae'] / time_of:5.2f} x pythae",
                flush=True,
            )


if __name__ == "__main__":
    main()
