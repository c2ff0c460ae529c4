"""`assay doctor` on machines that this one is not: a fake nvidia-smi stands first on the PATH."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from assay.commands import doctor


def fake_gpu(folder: Path, monkeypatch: pytest.MonkeyPatch, driver: str) -> None:
    tool = folder / "nvidia-smi"
    tool.write_text(f'#!/bin/sh\n[ "$1" = -L ] && echo "GPU 0: NVIDIA L4 (UUID: GPU-1)" || echo {driver}\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.parametrize(("driver", "state"), [("570.133.20", "missing"), ("580.65.06", "ok"), ("[N/A]", "missing")])
def test_a_driver_too_old_for_cuda_13_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, driver: str, state: str
) -> None:
    fake_gpu(tmp_path, monkeypatch, driver)
    found = doctor._driver()
    assert found.state == state
    assert ("driver 580 or later" in found.mend) == (state == "missing")


def test_a_gpu_that_torch_cannot_use_is_missing_and_not_ok(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_gpu(tmp_path, monkeypatch, "580.65.06")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    found = doctor._torch_works()
    assert found.state == "missing"
    assert "cannot use the GPU" in found.seen and found.mend


def test_missing_headers_are_told_on_gpu_machines_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.sysconfig, "get_paths", lambda: {"include": str(tmp_path)})
    monkeypatch.setattr(doctor, "has_gpu", lambda: False)
    assert doctor._headers().state == "off"
    monkeypatch.setattr(doctor, "has_gpu", lambda: True)
    assert doctor._headers().state == "missing"
    assert "Python.h" in doctor._headers().seen


def test_doctor_has_a_row_for_each_and_takes_seconds_of_cpu(tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ended = subprocess.run(
        [sys.executable, "-c", "from assay.cli import main; main()", "doctor", "--json"],
        capture_output=True, check=False, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    rows = [finding["what"] for finding in json.loads(ended.stdout)]
    assert "torch" in rows and len(set(rows)) == len(rows), "one row for each"
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 15  # 7 s beside other work
