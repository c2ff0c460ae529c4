"""What no node could give is refused at once, the GPUs of a local judge among it."""

from __future__ import annotations

import pytest

from assay.cluster import ray_nodes
from assay.cluster.capacity import Capacity
from assay.commands import doctor
from assay.commands.study import refuse_unsupported
from assay.errors import ResourceError
from assay.studies.builtin.paper import quickstart
from assay.studies.resources import check_resources
from assay.studies.spec import Study


def judged_locally(gpus: int, **changes: object) -> Study:
    study = quickstart()
    judge = {**study.judge.model_dump(), "model": "owner/judge", "transport": "local", "local": {"gpus": gpus}}
    return study.replace(judge=judge, **changes)


def test_a_local_judge_is_known_to_want_gpus_where_it_is_asked() -> None:
    assert not quickstart().wants_gpu and quickstart().local_judge is None
    assert not judged_locally(0).wants_gpu
    assert judged_locally(2).wants_gpu
    unasked = judged_locally(2, scorers=("truth",), statistics={"human": "truth"})
    assert unasked.local_judge is None and not unasked.wants_gpu


def test_gpus_that_no_node_has_are_refused_before_anything_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_nodes, "capacity", lambda: Capacity(({"CPU": 4.0, "GPU": 1.0}, {"CPU": 4.0, "GPU": 1.0})))
    check_resources(judged_locally(1).resources, judged_locally(1).local_judge)
    with pytest.raises(ResourceError, match=r"judge\.local\.gpus: asks for 1 CPU and 2 GPU .* node has 4 CPU and 1"):
        check_resources(judged_locally(2).resources, judged_locally(2).local_judge)


def test_a_judge_on_a_gpu_where_there_is_none_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "has_gpu", lambda: False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    refuse_unsupported(judged_locally(0).resources, judged_locally(0).local_judge)
    with pytest.raises(ResourceError, match=r"asks for 1 GPU; saw none .* judge\.local\.gpus=0"):
        refuse_unsupported(judged_locally(1).resources, judged_locally(1).local_judge)
