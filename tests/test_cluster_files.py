"""The cluster files are what their tools take, scale as they say, and hold no secret and no path of one machine.

AWS and Google Cloud are checked by Ray's own schema and its own scheduler; SkyPilot by its schema where the package is
installed. KubeRay's CRD and a container engine are not to be had from a Python package: the RayJob and the image
recipe are checked for their structure alone.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from assay.cluster.capacity import Capacity, planned_nodes
from assay.studies.catalog import load_study
from assay.training.sweep.slots import slots_of

ROOT = Path(__file__).resolve().parent.parent
CLOUDS = ("cluster.yaml", "jobs/cluster-gcp.yaml")
WHEEL = "assay-0.1.0-py3-none-any.whl"


def read(name: str) -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load((ROOT / name).read_text())
    return data


@pytest.mark.parametrize("name", CLOUDS)
def test_a_cluster_file_passes_rays_own_check_and_starts_from_nothing(name: str) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = prepare_config(read(name))
    validate_config(config)
    kinds = config["available_node_types"]
    assert config["head_node_type"] == "head"
    assert all(kind["min_workers"] == 0 for kind in kinds.values())
    assert kinds["head"]["resources"] == {"CPU": 0, "GPU": 0}
    assert kinds["gpu_spot"]["resources"] == kinds["gpu_on_demand"]["resources"]
    assert kinds["gpu_spot"]["priority"] > kinds["gpu_on_demand"]["priority"]


def test_spot_machines_are_asked_for_in_each_clouds_own_words() -> None:
    aws, gcp = (read(name)["available_node_types"] for name in CLOUDS)
    for kind in ("gpu_spot", "cpu_judge"):
        assert aws[kind]["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
        assert {"provisioningModel": "SPOT"} in gcp[kind]["node_config"]["scheduling"]
    for kind in ("head", "gpu_on_demand"):
        assert "InstanceMarketOptions" not in aws[kind]["node_config"]
        assert {"provisioningModel": "SPOT"} not in gcp[kind]["node_config"].get("scheduling", [])


def launched(name: str, demands: list[dict[str, float]], failing: dict[str, float] | None = None) -> dict[str, int]:
    """Machines that the autoscaler which `ray up` starts would launch for these demands, none being there."""
    from ray.autoscaler._private.util import prepare_config
    from ray.autoscaler.v2.event_logger import AutoscalerEventLogger
    from ray.autoscaler.v2.instance_manager.config import AutoscalingConfig
    from ray.autoscaler.v2.scheduler import ResourceDemandScheduler, SchedulingRequest
    from ray.autoscaler.v2.utils import ResourceRequestUtil

    class Silent(AutoscalerEventLogger):
        def __init__(self) -> None:
            pass

        def log_cluster_scheduling_update(self, *args: object, **named: object) -> None:
            pass

    config = AutoscalingConfig(prepare_config(read(name)), skip_content_hash=True)
    request = SchedulingRequest(
        disable_launch_config_check=True,
        node_type_configs=config.get_node_type_configs(),
        max_num_nodes=config.get_max_num_worker_nodes(),
        resource_requests=ResourceRequestUtil.group_by_count([ResourceRequestUtil.make(demand) for demand in demands]),
        recoverable_resource_availabilities=failing or {},
    )
    reply = ResourceDemandScheduler(Silent()).schedule(request)
    return {launch.instance_type: launch.count for launch in reply.to_launch}


@pytest.mark.parametrize("name", CLOUDS)
def test_trials_bring_spot_gpus_and_on_demand_ones_where_spot_has_none(name: str) -> None:
    s1 = load_study("s1", []).resources
    trial = {"CPU": s1.training.cpus_per_worker, "GPU": s1.training.gpus_per_worker}
    engine = {"CPU": s1.generation.cpus_per_engine, "GPU": s1.generation.gpus_per_engine}
    assert launched(name, [trial] * 3) == {"gpu_spot": 3}
    assert launched(name, [engine]) == {"gpu_spot": 1}
    assert launched(name, [trial] * 3, failing={"gpu_spot": 0.0}) == {"gpu_on_demand": 3}
    assert launched(name, [trial] * 18) == {"gpu_spot": 16, "gpu_on_demand": 2}


@pytest.mark.parametrize("name", CLOUDS)
def test_judges_bring_machines_without_gpus(name: str) -> None:
    s1 = load_study("s1", ["resources.scoring.judge_resources={judge: 1}"]).resources.scoring
    actor = {"CPU": s1.cpus_per_worker, **s1.judge_resources}
    assert actor == {"CPU": 1.0, "judge": 1.0}
    assert launched(name, [actor] * 3) == {"cpu_judge": 1}
    assert launched(name, [{"CPU": 1.0}]) == {"cpu_judge": 1}, "nor do local scorers ask for a GPU"


@pytest.mark.parametrize("name", CLOUDS)
def test_a_sweep_on_a_cluster_of_zero_workers_plans_for_all_that_may_come(name: str) -> None:
    nodes = Capacity(planned_nodes(read(name)))
    assert slots_of(load_study("s1", []).resources.training, nodes) == 20
    assert nodes.room_for({"CPU": 1.0, "judge": 1.0}) == 16


@pytest.mark.parametrize("name", CLOUDS)
def test_every_ray_start_authenticates_and_has_the_judges_keys(name: str) -> None:
    config = read(name)
    starts = [
        line
        for which in ("head_start_ray_commands", "worker_start_ray_commands")
        for line in config[which]
        if "ray start" in line
    ]
    assert len(starts) == 2
    for line in starts:
        assert "RAY_AUTH_MODE=token" in line
        assert ". ~/.assay-keys" in line
    assert "--dashboard-host=127.0.0.1" in starts[0]


@pytest.mark.parametrize("name", CLOUDS)
def test_nodes_install_the_wheel_of_this_version(name: str) -> None:
    config = read(name)
    assert config["file_mounts"]["/home/ubuntu/install_node.sh"] == "jobs/install_node.sh"
    assert config["file_mounts"]["/home/ubuntu/assay-dist"] == "dist"
    for lock in LOCKS.values():
        assert config["file_mounts"][f"/home/ubuntu/{Path(lock).name}"] == lock
    (install,) = (line for line in config["setup_commands"] if "install_node.sh" in line)
    assert WHEEL in install
    assert 'version = "0.1.0"' in (ROOT / "pyproject.toml").read_text()


def test_the_install_script_is_valid_shell_and_installs_what_pyproject_pins() -> None:
    script = ROOT / "jobs/install_node.sh"
    subprocess.run(["bash", "-n", str(script)], check=True)
    text = script.read_text()
    pinned = re.search(r'"torch==([\d.]+)"', (ROOT / "pyproject.toml").read_text())
    assert pinned is not None
    assert f"torch=={pinned[1]}+cpu" in text
    for package in ("torchvision", "torchaudio", "torchcodec"):
        assert package in text


LOCKS = {"cpu": "jobs/requirements-cpu.txt", "gpu": "jobs/requirements-gpu.txt"}


@pytest.mark.parametrize(("build", "name"), LOCKS.items())
def test_a_lock_file_pins_what_the_project_asks_for_and_names_no_index(build: str, name: str) -> None:
    lines = (ROOT / name).read_text().splitlines()
    assert [line for line in lines if line.startswith("#")][-1].strip("# ") == "make lock"
    requirements = [Requirement(line) for line in lines if not line.startswith("#")]
    assert all(str(part.specifier).startswith("==") and part.url is None for part in requirements)
    pinned = {canonicalize_name(part.name): str(part.specifier).removeprefix("==") for part in requirements}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for asked in map(Requirement, (*project["dependencies"], *project["optional-dependencies"][build])):
        assert asked.specifier.contains(pinned[canonicalize_name(asked.name)]), asked
    assert (pinned["torch"] == "2.13.0+cpu") == (build == "cpu")
    assert any(part.startswith("nvidia-") for part in pinned) == (build == "gpu")
    assert not {"torchvision", "torchaudio", "torchcodec"} & set(pinned) or build == "gpu"


FAKE_UV = """#!/bin/bash
echo "$@" >> {log}
place="${{@: -1}}/bin"
if [ "$1" = venv ]; then mkdir -p "$place"; cp {tool} "$place/python"; cp {tool} "$place/assay"; fi
"""


@pytest.mark.parametrize("build", ["cpu", "gpu"])
def test_a_node_installs_what_the_lock_file_of_its_build_says_once(tmp_path: Path, build: str) -> None:
    tools, home, log = tmp_path / "tools", tmp_path / "home", tmp_path / "log"
    tools.mkdir()
    home.mkdir()
    nothing = tools / "nothing"
    nothing.write_text("#!/bin/bash\n")
    (tools / "uv").write_text(FAKE_UV.format(log=log, tool=nothing))
    (tools / "nvidia-smi").write_text(f"#!/bin/bash\necho '{'GPU 0: L4' if build == 'gpu' else ''}'\n")
    for tool in tools.iterdir():
        tool.chmod(0o755)
    for name in ("install_node.sh", *(Path(lock).name for lock in LOCKS.values())):
        (home / name).write_bytes((ROOT / "jobs" / name).read_bytes())
    (home / WHEEL).write_bytes(b"wheel")

    def install() -> list[str]:
        before = log.read_text().splitlines() if log.exists() else []
        environment = {"PATH": f"{tools}:/usr/bin:/bin", "HOME": str(tmp_path)}
        call = ["bash", str(home / "install_node.sh"), str(home / WHEEL), str(tmp_path / "env"), "boto3"]
        subprocess.run(call, check=True, env=environment)
        return log.read_text().splitlines()[len(before) :]

    said = install()
    assert f"-r {home}/requirements-{build}.txt {home / WHEEL}[{build}] boto3" in said[-1]
    assert len(said) == (2 if build == "gpu" else 3)
    assert install() == []
    with (home / f"requirements-{build}.txt").open("a") as file:
        file.write("# newer\n")
    assert install(), "a node with another lock file is another node"


def test_rayjob_autoscales_from_zero_and_runs_a_study_that_exists() -> None:
    job = read("jobs/rayjob.yaml")
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    spec = job["spec"]
    words = shlex.split(spec["entrypoint"])
    assert words[:2] == ["python", "jobs/run_study.py"]
    overrides = [value for flag, value in pairwise(words) if flag == "--set"]
    assert load_study(words[2], overrides).resources.scoring.judge_resources == {"judge": 1.0}
    cluster = spec["rayClusterSpec"]
    assert cluster["enableInTreeAutoscaling"] is True
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    gpu, judge = cluster["workerGroupSpecs"]
    for group in (gpu, judge):
        assert (group["minReplicas"], group["replicas"], group["maxReplicas"] > 0) == (0, 0, True)
        (container,) = group["template"]["spec"]["containers"]
        assert container["resources"]["limits"] == container["resources"]["requests"]
    assert gpu["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    declared = yaml.safe_load(yaml.safe_load(judge["rayStartParams"]["resources"]))
    assert declared == {"judge": 4}
    image = {group["template"]["spec"]["containers"][0]["image"] for group in (cluster["headGroupSpec"], gpu, judge)}
    assert len(image) == 1


def test_the_image_recipe_builds_on_rays_image_as_an_ordinary_user() -> None:
    """By hand: no container engine and no Dockerfile linter is at hand here."""
    lines = [line for line in (ROOT / "jobs/Dockerfile").read_text().splitlines() if line and not line.startswith("#")]
    steps = [line.split(maxsplit=1) for line in lines if not line.startswith(" ")]
    assert [word for word, _ in steps] == ["FROM", "USER", "RUN", "USER", "WORKDIR", "COPY", "RUN", "COPY", "RUN"]
    assert steps[0][1] == "rayproject/ray:2.60.0-py311-cu128"
    assert [rest for word, rest in steps if word == "USER"][-1] == "ray"
    copied = "".join(rest for word, rest in steps if word == "COPY")
    assert WHEEL in copied and LOCKS["gpu"] in copied
    assert any("-r /tmp/requirements-gpu.txt" in rest for word, rest in steps if word == "RUN")


def test_the_skypilot_task_runs_a_study_on_spot_machines_and_comes_back() -> None:
    task = read("jobs/skypilot.yaml")
    assert task["resources"]["use_spot"] is True
    assert task["resources"]["job_recovery"]["strategy"] == "EAGER_NEXT_REGION"
    load_study(task["envs"]["STUDY"], ["base_models=[Qwen/Qwen2.5-0.5B]", "judge.model=gpt-4o-mini"])
    assert task["envs"]["BUCKET"] is None
    for part in ("setup", "run"):
        subprocess.run(["bash", "-n"], input=task[part], text=True, check=True)
    assert WHEEL in task["setup"]


def test_the_skypilot_task_passes_skypilots_own_schema() -> None:
    schemas = pytest.importorskip("sky.utils.schemas", reason="needs the skypilot package; nothing else here does")
    import jsonschema

    jsonschema.validate(read("jobs/skypilot.yaml"), schemas.get_task_schema())


@pytest.mark.parametrize("name", [*CLOUDS, "jobs/rayjob.yaml", "jobs/skypilot.yaml", "jobs/Dockerfile"])
def test_no_file_holds_a_secret_and_versions_agree_with_the_project(name: str) -> None:
    text = (ROOT / name).read_text()
    assert not re.search(r"sk-[A-Za-z0-9]{8,}|AKIA[A-Z0-9]{12,}|BEGIN [A-Z ]*PRIVATE KEY", text)
    assert "ray[default,data,train,tune]==2.60.0" in (ROOT / "pyproject.toml").read_text()
    for version in re.findall(r'rayVersion: "([\d.]+)"|rayproject/ray:([\d.]+)', text):
        assert "2.60.0" in version
