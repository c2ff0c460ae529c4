"""What a sweep says of its jobs, failed ones above all."""

from __future__ import annotations

from assay.training.spec import TrainingJob, TrainSpec
from assay.training.sweep.sweep_report import CAUSES_SHOWN, JobReport, SweepFailed, SweepReport, failure_line


def job(number: int) -> TrainingJob:
    labels = {"arm": f"a{number}", "draw": "0"} if number else {}
    return TrainingJob(
        key=f"k{number}", base_key="b", base_path="", mixture_key="m", spec=TrainSpec(), dataset_keys=(), labels=labels
    )


def test_the_line_names_the_first_failures_and_counts_the_others() -> None:
    failed = [JobReport(f"k{n}", "failed", attempts=2, error="ValueError: no") for n in range(CAUSES_SHOWN + 2)]
    report = SweepReport((JobReport("good", "trained", step_s=1.5), *failed), wall_s=9.0, slots=2, first_step_s=1.0)
    line = failure_line(report, {f"k{n}": job(n) for n in range(CAUSES_SHOWN + 2)})
    assert line.startswith(f"training: {CAUSES_SHOWN + 2} of {CAUSES_SHOWN + 3} adapters failed")
    assert "k0 after 2 attempt(s): ValueError: no | arm=a1 draw=0 after 2" in line
    assert line.endswith("| and 2 more")
    assert "a3" not in line


def test_times_add_up_over_jobs() -> None:
    jobs = (JobReport("a", "trained", wall_s=3, step_s=2, eval_s=0.5), JobReport("b", "found"))
    report = SweepReport(jobs, wall_s=4.0, slots=1, first_step_s=1.0)
    assert (report.step_s, report.eval_s, report.trial_s, report.failed) == (2, 0.5, 3, ())


def test_bad_input_alone_ends_with_its_own_exit_code() -> None:
    bad = JobReport("a", "failed", error="ConfigError: no", is_bad_input=True)
    died = JobReport("b", "failed", error="RuntimeError: no")
    assert SweepFailed("", SweepReport((bad,), wall_s=1, slots=1, first_step_s=0)).exit_code == 2
    assert SweepFailed("", SweepReport((bad, died), wall_s=1, slots=1, first_step_s=0)).exit_code == 1
