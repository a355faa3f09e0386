"""Numerics on the ground floor: functions of tensors that know nothing of the rest of the package."""
