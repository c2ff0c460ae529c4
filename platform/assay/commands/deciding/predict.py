"""`assay predict`: scores of mixtures that were not trained, from a table of those that were."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import typer

from assay.commands.deciding.mixture_tables import Queue, Runs, read_proxies, read_queue, read_runs
from assay.commands.metaeval import write_json
from assay.errors import ConfigError, DataError
from assay.option_groups import with_groups

if TYPE_CHECKING:
    from assay.metaeval.predict.choice import Bounds
    from assay.metaeval.predict.proxy import ProxyTable
    from assay.metaeval.predict.stacking import Predictor

BOUND = "COMPONENT=SHARE"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a proposed mixture must keep to."""

    at_least: Mapping[str, float]
    at_most: Mapping[str, float]
    kept: Mapping[str, float]
    """Column of the scores -> what its predicted score may not be worse than."""


@dataclass(frozen=True, slots=True)
class Further:
    """What is asked beside predictions."""

    batch: int = 1
    """Mixtures to propose."""
    queued: Queue | None = None
    seed: int = 0
    proxies: ProxyTable | None = None
    """A score that is known of every mixture without training it; then only mixtures that have one are proposed."""


def predict_command(
    trained: Runs,
    column: str,
    out: Path,
    goal: Literal["max", "min"],
    limits: Limits,
    test: Runs | None,
    further: Further,
) -> None:
    """Fit, account for it, propose, write the report and print it.

    Raises:
        ConfigError: a bound that no mixture keeps, or that names no component.
        DataError: too few runs, or shares that do not add up to 1.
    """
    from assay.metaeval.predict.account import account as account_of
    from assay.metaeval.predict.account import noise_sd, rank_ceiling
    from assay.metaeval.predict.stacking import check_shares
    from assay.metaeval.statistics.correlation import spearman

    scores = trained.scores[column]
    seed = further.seed
    bounds = _bounds(trained.components, limits)
    model = _fit(trained, column, seed, further.proxies)
    noise = noise_sd(check_shares(trained.shares), scores)
    report: dict[str, Any] = {
        "column": column,
        "num_runs": len(scores),
        "components": list(trained.components),
        "weights": dict(model.weights),
        "out_of_fold_rank_correlation": spearman(model.fold_mean, scores),
        "noise_sd": noise,
    }
    if test is not None:
        try:
            predictions = model.predict(test.shares)
        except ValueError as error:
            raise DataError(f"--test-mixtures: saw {error}; expected shares as in --mixtures; correct it") from error
        measured = account_of(predictions, test.scores[column])
        ceiling = rank_ceiling(test.scores[column], noise, seed=seed)
        report["test"] = {**asdict(measured), "rank_ceiling": ceiling}
        report["predictions"] = [
            {"key": key, "mean": mean, "low": low, "high": high, "measured": score}
            for key, mean, low, high, score in zip(
                test.keys,
                *(side.tolist() for side in (predictions.mean, predictions.low, predictions.high)),
                test.scores[column].tolist(),
                strict=True,
            )
        ]
    if further.proxies is not None:
        report["proxy"] = _proxy_account(trained, column, further.proxies)
    report |= _proposals(trained, column, model, goal, limits, bounds, further)
    if further.queued is not None:
        report["queued"] = _queue(further.queued, model, trained, goal, noise, seed)
    write_json(out, report)
    _print(report)
    if "queued" in report:
        _print_queue(report["queued"])
    typer.echo(f"all figures: {out}")


def _fit(runs: Runs, column: str, seed: int, proxies: ProxyTable | None = None) -> Predictor:
    from assay.metaeval.predict.stacking import fit_predictor

    try:
        return fit_predictor(runs.shares, runs.scores[column], seed=seed, proxies=proxies)
    except ValueError as error:
        raise DataError(f"--mixtures, column {column!r}: saw {error}; correct the table") from error


def _proposals(
    runs: Runs,
    column: str,
    model: Predictor,
    goal: Literal["max", "min"],
    limits: Limits,
    bounds: Bounds,
    further: Further,
) -> dict[str, Any]:
    from assay.metaeval.predict.choice import candidates
    from assay.metaeval.predict.design import next_batch
    from assay.metaeval.predict.stacking import check_shares

    seed = further.seed
    trained = check_shares(runs.shares)
    if further.proxies is None:
        shares = candidates(bounds, trained, seed=seed)
    else:
        shares = further.proxies.shares[bounds.keep(further.proxies.shares)]
    for name, limit in limits.kept.items():
        expected = _fit(runs, name, seed).predict(shares).mean
        shares = shares[expected >= limit if goal == "max" else expected <= limit]
    if not len(shares):
        raise ConfigError("bounds and --keep: no mixture is predicted to keep them all; lower one of them")
    predictions = model.predict(shares)
    highest = goal == "max"
    best = int(predictions.mean.argmax() if highest else predictions.mean.argmin())
    of_trained = model.predict(trained).mean
    reached = float(of_trained.max() if highest else of_trained.min())
    upwards, target = (predictions, reached) if highest else (predictions.reversed, -reached)
    following = next_batch(shares, upwards, target, further.batch)

    def proposal(place: int) -> dict[str, Any]:
        named = dict(zip(runs.components, (round(float(share), 4) for share in shares[place]), strict=True))
        return {
            "shares": named,
            "mean": float(predictions.mean[place]),
            "low": float(predictions.low[place]),
            "high": float(predictions.high[place]),
        }

    return {
        "goal": goal,
        "best": proposal(best),
        "next": [proposal(place) for place in following],
        "best_trained_predicted": reached,
    }


def _queue(
    queued: Queue, model: Predictor, runs: Runs, goal: Literal["max", "min"], noise: float, seed: int
) -> list[dict[str, Any]]:
    """Which mixtures that wait need not be trained: a run would tell nothing, or they are hardly ever the best."""
    from assay.metaeval.predict.design import hope
    from assay.metaeval.predict.stacking import check_shares

    try:
        predictions = model.predict(queued.shares)
    except ValueError as error:
        raise DataError(f"--queued: saw {error}; expected shares as in --mixtures; correct it") from error
    of_trained = model.predict(check_shares(runs.shares))
    upwards, reached = (predictions, of_trained) if goal == "max" else (predictions.reversed, of_trained.reversed)
    best = int(reached.mean.argmax())
    outlook = hope(upwards, float(reached.mean[best]), float(reached.sd[best]), noise=noise, seed=seed)
    return [
        {
            "key": key,
            "mean": float(predictions.mean[place]),
            "low": float(predictions.low[place]),
            "high": float(predictions.high[place]),
            "chance_to_be_best": float(outlook.chance[place]),
            "is_known": bool(outlook.is_known[place]),
            "cancel": bool(outlook.need_not_be_trained[place]),
        }
        for place, key in enumerate(queued.keys)
    ]


def _proxy_account(runs: Runs, column: str, proxies: ProxyTable) -> dict[str, Any]:
    """How well the proxy alone orders the trained mixtures, each with the mean of its runs."""
    from assay.metaeval.predict.account import rank_agreement
    from assay.metaeval.predict.stacking import check_shares

    mixtures, place = np.unique(np.round(check_shares(runs.shares), 6), axis=0, return_inverse=True)
    means = np.bincount(place, weights=runs.scores[column]) / np.bincount(place)
    return {"rank_correlation": rank_agreement(proxies.beside(mixtures)[:, -1], means).as_json()}


def _bounds(components: Sequence[str], limits: Limits) -> Bounds:
    from assay.metaeval.predict.choice import Bounds

    for option, named in (("--at-least", limits.at_least), ("--at-most", limits.at_most)):
        for name in named:
            if name not in components:
                raise ConfigError(f"{option} {name}: saw no such component; expected one of {', '.join(components)}")
    low = np.array([limits.at_least.get(name, 0.0) for name in components])
    high = np.array([limits.at_most.get(name, 1.0) for name in components])
    try:
        return Bounds(low, high)
    except ValueError as error:
        raise ConfigError(f"--at-least, --at-most: saw {error}; change one") from error


def _print(report: Mapping[str, Any]) -> None:
    weights = ", ".join(f"{name} {weight:.2f}" for name, weight in report["weights"].items())
    typer.echo(f"{report['column']}: {report['num_runs']} runs of {len(report['components'])} components; {weights}")
    outside = report["out_of_fold_rank_correlation"]
    typer.echo(f"rank correlation on runs left out of the fit: {_rank(outside, 'all their scores are equal')}")
    if "proxy" in report:
        alone = rho_text(report["proxy"]["rank_correlation"])
        typer.echo(f"rank correlation of the proxy alone with trained mixtures: {alone}")
    if "test" in report:
        test = report["test"]
        typer.echo(
            f"{test['num_mixtures']} further mixtures: rank correlation "
            f"{_rank(test['rank_correlation'], 'all of one side are equal')} (ceiling by noise "
            f"{_rank(test['rank_ceiling'], 'no mixture was trained twice, or all scores are equal')}), pairs in order "
            f"{_rank(test['pair_accuracy'], 'all measured scores are equal', 100)} %, mean error "
            f"{test['mean_error']:.4g}, 95 % intervals hold {100 * test['coverage']:.1f} %"
        )
    for mixture, what in ((report["best"], "predicted best"), *((one, "train next") for one in report["next"])):
        shares = ", ".join(f"{part} {share:.2f}" for part, share in mixture["shares"].items() if share >= 0.005)
        typer.echo(f"{what}: {mixture['mean']:.4f} [{mixture['low']:.4f}, {mixture['high']:.4f}] at {shares}")


def rho_text(rho: Mapping[str, Any]) -> str:
    """A rank correlation with its interval and mixtures, or why there is none."""
    if rho["value"] is None:
        return f"not known ({rho['reason']})"
    ends = "" if rho["low"] is None else f" [{rho['low']:.3f}, {rho['high']:.3f}]"
    return f"{rho['value']:.3f}{ends} over {rho['n']} mixtures"


def _print_queue(rows: Sequence[Mapping[str, Any]]) -> None:
    gone = [row for row in rows if row["cancel"]]
    typer.echo(f"of {len(rows)} queued mixtures {len(gone)} need not be trained")
    for row in gone:
        why = "is known as well as a run would tell" if row["is_known"] else "is hardly ever the best"
        typer.echo(f"  {row['key']}: {row['mean']:.4f} [{row['low']:.4f}, {row['high']:.4f}] {why}")


def _rank(value: float, why_not: str, scale: float = 1.0) -> str:
    return f"not known ({why_not})" if math.isnan(value) else f"{scale * value:.{3 if scale == 1 else 1}f}"


def named_numbers(option: str, given: Sequence[str] | None) -> dict[str, float]:
    """`NAME=NUMBER` options as a mapping.

    Raises:
        ConfigError: one of another form.
    """
    found = {}
    for text in given or []:
        name, _, number = text.rpartition("=")
        try:
            found[name] = float(number)
        except ValueError:
            name = ""
        if not name:
            raise ConfigError(f"{option} {text}: expected NAME=NUMBER, e.g. {option} instructions=0.3")
    return found


@dataclass(frozen=True)
class NextOptions:
    """What is trained next."""

    batch: Annotated[int, typer.Option(metavar="N", min=1, help="Mixtures to propose for the next batch.")] = 1
    queued: Annotated[
        Path | None, typer.Option(help="Mixtures that wait to be trained: which of them need not be.")
    ] = None
    seed: Annotated[int, typer.Option(help="Of folds and candidates.")] = 0


@dataclass(frozen=True)
class RunFiles:
    """Where the mixtures and their scores lie."""

    mixtures: Annotated[Path, typer.Option(help="CSV, JSONL or Parquet: a key, and one column of shares each.")]
    scores: Annotated[Path, typer.Option(help="The same keys, and scores or losses of the trained models.")]
    column: Annotated[str, typer.Option(help="The score to predict.")]
    proxies: Annotated[
        Path | None,
        typer.Option(help="Mixtures with the same score of adapters that were added up (`assay proxy`)."),
    ] = None
    test_mixtures: Annotated[Path | None, typer.Option(help="Further mixtures, for the account.")] = None
    test_scores: Annotated[Path | None, typer.Option(help="What they were measured to score.")] = None
    key: Annotated[str | None, typer.Option(help="Column that joins; default: the first in common.")] = None

    def read(self, kept: Iterable[str]) -> tuple[Runs, Runs | None]:
        """The trained mixtures with their score and the columns `kept`, and the further ones with their score.

        Raises:
            ConfigError: a column that is not there, or files that do not belong together.
            DataError: a file that cannot be read.
        """
        if (self.test_mixtures is None) != (self.test_scores is None):
            raise ConfigError("--test-mixtures and --test-scores: saw one of them; expected both or none")
        columns = [self.column, *(name for name in kept if name != self.column)]
        trained = read_runs(self.mixtures, self.scores, self.key, columns)
        if self.test_mixtures is None or self.test_scores is None:
            return trained, None
        test = read_runs(self.test_mixtures, self.test_scores, self.key, [self.column], "--test-")
        if test.components != trained.components:
            raise ConfigError(
                f"{self.test_mixtures}: saw other components than {self.mixtures}; expected the same columns"
            )
        return trained, test


@dataclass(frozen=True)
class LimitOptions:
    """What a proposed mixture must keep to."""

    at_least: Annotated[list[str] | None, typer.Option(metavar=BOUND, help="Least share; repeatable.")] = None
    at_most: Annotated[list[str] | None, typer.Option(metavar=BOUND, help="Most share: rows there are.")] = None
    keep: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN=SCORE", help="Another score, to be no worse than this."),
    ] = None

    def limits(self) -> Limits:
        """Read as numbers.

        Raises:
            ConfigError: an entry that is no NAME=NUMBER.
        """
        return Limits(
            named_numbers("--at-least", self.at_least),
            named_numbers("--at-most", self.at_most),
            named_numbers("--keep", self.keep),
        )


def register(app: typer.Typer) -> None:
    """Hang `assay predict` on."""
    app.command("predict")(with_groups(predict))


def predict(
    *,
    files: RunFiles,
    out: Annotated[Path, typer.Option(metavar="FILE.json")],
    goal: Annotated[Literal["max", "min"], typer.Option(help="max for scores, min for losses.")] = "max",
    kept: LimitOptions,
    then: NextOptions,
) -> None:
    """Predict scores of mixtures that were not trained, with intervals, and propose the best and the next one."""
    limits = kept.limits()
    trained, test = files.read(limits.kept)
    queued = None if then.queued is None else read_queue(then.queued, trained.components)
    proxies = None if files.proxies is None else read_proxies(files.proxies, trained.components, files.column)
    predict_command(trained, files.column, out, goal, limits, test, Further(then.batch, queued, then.seed, proxies))
