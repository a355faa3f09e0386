"""Nets: maps from tensors to tensors, which know no probability.

Each takes an optional vector `context` (B, C), where None means the zero vector, and treats every
item alone: no batch statistics. Parameters start from torch's own draws, so whoever builds a net
decides the seed.
"""

from likeness.nets.conv import Decoder, Down, Encoder, Up
from likeness.nets.embed import ACTIVATIONS, Activation, Fourier, Modulation, TimeEmbedding
from likeness.nets.grouped import GroupedHead, Stepper
from likeness.nets.mlp import MLP, Affine
from likeness.nets.pixel import PixelCNN, PixelStepper
from likeness.nets.sequence import Sequence, SequenceStepper
from likeness.nets.unet import UNet

__all__ = [
    "ACTIVATIONS",
    "MLP",
    "Activation",
    "Affine",
    "Decoder",
    "Down",
    "Encoder",
    "Fourier",
    "GroupedHead",
    "Modulation",
    "PixelCNN",
    "PixelStepper",
    "Sequence",
    "SequenceStepper",
    "Stepper",
    "TimeEmbedding",
    "UNet",
    "Up",
]
