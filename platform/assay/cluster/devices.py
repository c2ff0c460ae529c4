"""What a process is told of the accelerators of its machine: those that it was given, and no others. Pure."""

from __future__ import annotations


def device_environment(gpus: float) -> dict[str, str]:
    """Environment of a process that was given this share of GPUs; it must stand before its engines are imported.

    Ray leaves all GPUs visible to an actor that asked for none, and DeepSpeed goes by what it sees, not by the device
    that a training asked for.
    """
    if gpus > 0:
        return {"DS_ACCELERATOR": "cuda"}
    return {"DS_ACCELERATOR": "cpu", "CUDA_VISIBLE_DEVICES": ""}
