from __future__ import annotations

from assay.cluster.devices import device_environment


def test_a_process_without_a_gpu_sees_none_and_trains_on_the_cpu() -> None:
    assert device_environment(0) == {"DS_ACCELERATOR": "cpu", "CUDA_VISIBLE_DEVICES": ""}


def test_a_process_with_a_share_of_a_gpu_keeps_what_ray_gave_it() -> None:
    assert device_environment(0.5) == {"DS_ACCELERATOR": "cuda"}
