from __future__ import annotations

from pathlib import Path

import pytest

from assay.cluster import devices
from assay.cluster.devices import device_environment, here_bfloat16_is_slow, multiplies_bfloat16


def test_a_process_without_a_gpu_sees_none_and_trains_on_the_cpu() -> None:
    assert device_environment(0) == {"DS_ACCELERATOR": "cpu", "CUDA_VISIBLE_DEVICES": ""}


def test_a_process_with_a_share_of_a_gpu_keeps_what_ray_gave_it() -> None:
    assert device_environment(0.5) == {"DS_ACCELERATOR": "cuda"}


@pytest.mark.parametrize(
    ("facts", "does"),
    [
        ("flags\t\t: fpu fma avx avx2", False),
        ("flags\t\t: fpu fma avx2 avx512f avx512bw", True),
        ("flags\t\t: avx512bw avx512_bf16 amx_tile amx_bf16", True),
        ("Features\t: fp asimd bf16", True),
        ("Features\t: fp asimd", False),
        ("", True),
    ],
)
def test_which_processors_multiply_bfloat16(facts: str, does: bool) -> None:
    assert multiplies_bfloat16(facts) is does


def test_bfloat16_is_slow_on_a_cpu_without_it_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "CPU_FACTS", tmp_path / "cpuinfo")
    assert not here_bfloat16_is_slow("bfloat16", 0)  # nothing is known here
    (tmp_path / "cpuinfo").write_text("model name: a\nflags\t: avx2\n")
    assert here_bfloat16_is_slow("bfloat16", 0)
    assert not here_bfloat16_is_slow("float32", 0)
    assert not here_bfloat16_is_slow("bfloat16", 0.5)
