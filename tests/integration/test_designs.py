"""Designs beyond the target grid through the real engines: starting points of S2, and a search over weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.tiny_study import PATIENCE_S, TINY, artifact_files, assay, settings, table

pytestmark = [pytest.mark.timeout(3 * PATIENCE_S), pytest.mark.slow]
BASE = {name: value for name, value in TINY.items() if not name.startswith("grid.")}


def grid(**fields: object) -> dict[str, str]:
    return {"grid": json.dumps(fields)}


def test_s2_starts_from_the_base_and_from_both_forms_of_the_tuned_one(tmp_path: Path) -> None:
    design = grid(
        design="transfer",
        tasks=["toy_sentiment"],
        sizes=[0, 8],
        draws=1,
        starts=["base", "merged", "stacked"],
        instruction_rows=40,
        instruction_validation_rows=8,
        validation_rows=8,
    )
    changes = {**design, "training_seeds_at_zero": "[]", "error_rows": "5"}
    arguments = ["run", "quickstart", "--storage", str(tmp_path), *settings(changes, BASE)]
    ended = assay(*arguments)
    assert ended.code == 0, ended.err
    adapters = list((tmp_path / "artifacts" / "adapter").iterdir())
    assert len(adapters) == 1 + 3 + 1  # the tuning, one of each start, and the stack of the last
    assert len(list((tmp_path / "artifacts" / "base").iterdir())) == 2  # tiny, and tiny with the tuning written into it
    means = {
        (row["series"], row["num_target"], row["scorer"]): row["mean"]
        for row in table(tmp_path, "curves")
        if row["task"]
    }
    scorers = {scorer for _, _, scorer in means}
    for scorer in scorers:  # in float32 both forms of the tuned model are the same sum of weights
        merged, stacked = (means[f"our IFT, {form}", 0, scorer] for form in ("merged", "stacked"))
        assert merged == pytest.approx(stacked, abs=0.1)  # rounding may turn one near tie of a base that knows nothing
    assert {series for series, _, _ in means} == {"base", "our IFT, merged", "our IFT, stacked"}
    assert {(row["series"], row["against"]) for row in table(tmp_path, "series")} >= {("base", "our IFT, merged")}
    errors = json.loads((tmp_path / "studies" / "tiny" / "side" / "report.json").read_text())["errors"]
    assert [part["task"] for part in errors] == ["toy_sentiment"]
    assert errors[0]["text"].startswith("By rules:")
    before = artifact_files(tmp_path)
    again = assay(*arguments)
    assert "nothing to do" in again.out
    assert artifact_files(tmp_path) == before


def test_a_search_tries_weights_and_leaves_a_study_of_all_points(tmp_path: Path) -> None:
    design = grid(design="weights", tasks=["toy_sentiment", "toy_arithmetic"], total=40, validation_rows=8)
    changes = {**design, "training_seeds_at_zero": "[0]"}
    arguments = ["search", "quickstart", "--trials", "3", "--batch", "2", "--storage", str(tmp_path)]
    ended = assay(*arguments, *settings(changes, BASE))
    assert ended.code == 0, ended.err
    found = json.loads((tmp_path / "studies" / "tiny" / "side" / "search.json").read_text())
    assert len(found["trials"]) == 3
    arms = {row["arm"] for row in table(tmp_path, "leaderboard")}
    assert {trial["arm"] for trial in found["trials"]} | {"instructions only"} == arms
    feasible = [trial for trial in found["trials"] if trial["is_feasible"]]
    assert (found["best"] is None) == (not feasible)


def test_a_mixture_study_by_its_bases_own_tokens_is_searched_and_leaves_its_report(tmp_path: Path) -> None:
    changes = {
        **grid(
            design="mixture",
            components={"instructions": {}, "toy_sentiment": {"max_repeats": 2}, "toy_arithmetic": {}},
            total={"tokens": 900},
            points=[{"name": "house", "instructions": 2, "toy_sentiment": 1, "toy_arithmetic": 1}],
            space={"num": 2, "bounds": {"instructions": [0.1, 0.9]}},
            baseline="house",
            validation_rows=9,
        ),
        "evaluation.sets": json.dumps(
            {
                "toy_sentiment": {"rows": 12},
                "toy_arithmetic": {"rows": 12, "weight": 2},
                "instructions": {"rows": 12, "purpose": "forgetting"},
            }
        ),
        "goal": json.dumps({"scorer": "exact_match", "constraint": {"forgetting": 0.5}}),
    }
    arguments = ["search", "quickstart", "--trials", "2", "--batch", "2", "--storage", str(tmp_path)]
    ended = assay(*arguments, *settings(changes, BASE))
    assert ended.code == 0, ended.err
    folder = tmp_path / "studies" / "tiny"
    found = json.loads((folder / "side" / "search.json").read_text())
    arms = {row["arm"] for row in table(tmp_path, "objective")}
    assert arms == {"house", "natural", "uniform", *(trial["arm"] for trial in found["trials"])}
    for row in table(tmp_path, "shares"):
        if row["asked"] is not None:  # shares are of tokens; rows of the three datasets have about as many
            assert abs(row["share"] - row["asked"]) < 0.35
    assert all(0.1 - 1e-5 <= trial["weights"]["instructions"] <= 0.9 + 1e-5 for trial in found["trials"])
    page = (folder / "report.html").read_text()
    assert "Which shares make the best model" in page
    assert 'aria-label="The objective by exact_match over the shares' in page
