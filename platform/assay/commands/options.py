"""The options that several commands share, each defined once, and the groups that judging commands take whole."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from assay.errors import ConfigError
from assay.records import INSTRUCTIONS
from assay.storage_uri import secret_parameters

SCORER_PARAM = "SCORER.PARAM=VALUE"


def storage_option(text: str) -> Any:
    """`--storage`; what a command keeps or looks for there is its own to say."""
    return typer.Option(envvar="ASSAY_STORAGE", metavar="URI", help=text)


def set_option(text: str, metavar: str = "FIELD=VALUE") -> Any:
    """`--set`, which may be repeated."""
    return typer.Option("--set", metavar=metavar, help=text)


def refuse_typed_password(context: typer.Context, parameter: typer.CallbackParam, value: str | None) -> str | None:
    """A ledger's URL as it is; one with a password may come from the environment alone.

    Raises:
        ConfigError: it was typed, where `ps` and the shell's history show it, or is no URL.
    """
    source = context.get_parameter_source(parameter.name or "")
    if value is None or source is None or source.name != "COMMANDLINE":
        return value
    try:
        has_password = urlsplit(value).password is not None or secret_parameters(value)
    except ValueError as error:
        raise ConfigError(f"--ledger: saw no URL ({error}); expected sqlite:///FILE or postgresql://...") from None
    if has_password:
        raise ConfigError(
            "--ledger: saw a password in the URL; expected none on a command line, which others can read; put the URL "
            "into ASSAY_LEDGER_URL, or the password alone into PGPASSWORD"
        )
    return value


JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
ReportOption = Annotated[Path, typer.Option(metavar="FILE.json", help="The report; a figure lies beside it as .svg.")]
TrackingOption = Annotated[
    str | None, typer.Option(metavar="URI", help="MLflow; default: mlflow.db in a local storage; none: no run.")
]
KeyOption = Annotated[str, typer.Option("--api-key-env", help="Environment variable that holds the key.")]
UsdOption = Annotated[float | None, typer.Option(help="Stop, to be continued, before it costs more than this.")]
InputPriceOption = Annotated[
    float | None,
    typer.Option(metavar="NUMBER", min=0, help="Price of prompt tokens, for a model that our table does not know."),
]
OutputPriceOption = Annotated[float | None, typer.Option(metavar="NUMBER", min=0, help="Price of the replies' tokens.")]
LedgerStorageOption = Annotated[str, storage_option("Where the ledger of replies and the MLflow runs lie.")]

JudgeOption = Annotated[str, typer.Option(metavar="MODEL", help="Model name that is sent to the endpoint.")]
UrlOption = Annotated[
    str | None, typer.Option(help="Of any OpenAI-compatible endpoint, up to and with /v1; not with --transport local.")
]
ModeOption = Annotated[str, typer.Option(help="compat (as published) or strict.")]
LimitOption = Annotated[int | None, typer.Option(metavar="N", min=1, help="At most so many rows of each file.")]


@dataclass(frozen=True)
class LedgerOptions:
    """Where replies are kept."""

    storage: LedgerStorageOption = "runs"
    ledger: Annotated[
        str | None,
        typer.Option(
            envvar="ASSAY_LEDGER_URL",
            metavar="URL",
            callback=refuse_typed_password,
            help="Another ledger: sqlite:///FILE or postgresql://...; its password comes from PGPASSWORD.",
        ),
    ] = None


@dataclass(frozen=True)
class RunFlags:
    """How a study is run."""

    max_usd: Annotated[float | None, typer.Option(help="Stop before judges cost more than this.")] = None
    until: Annotated[
        str | None,
        typer.Option(metavar="STAGE", help="Stop after this stage: data, base, train, generate, score."),
    ] = None
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Ask the judge again where it gave no reply, and only there.")
    ] = False
    keep: Annotated[
        list[str] | None,
        typer.Option(metavar="ARM", help="Of a study with decide: spend on this arm though it is out; repeatable."),
    ] = None
    loss: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Of a study of models as they are: rows of model and test loss to plot."),
    ] = None
    preflight: Annotated[
        bool | None,
        typer.Option(
            "--preflight/--no-preflight",
            help="Try a training step, an engine and the judge first; by default not on tiny bases.",
            show_default=False,
        ),
    ] = None
    log_json: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Append the run's events as JSON lines; - is standard output.")
    ] = None


@dataclass(frozen=True)
class CallOptions:
    """How a judge is called, and within which limits."""

    api_key_env: KeyOption = "OPENAI_API_KEY"
    rpm: Annotated[float | None, typer.Option("--rpm", help="Requests per minute, at most.")] = None
    tpm: Annotated[float | None, typer.Option("--tpm", help="Tokens per minute, at most.")] = None
    concurrency: Annotated[int, typer.Option(metavar="N", min=1, help="Requests in flight, at most.")] = 64
    max_usd: UsdOption = None
    usd_per_million_input: InputPriceOption = None
    usd_per_million_output: OutputPriceOption = None
    usd_per_million_cached: Annotated[
        float | None, typer.Option(help="Price of cached prompt tokens, beside the two others.", show_default=False)
    ] = None
    price_map: Annotated[
        str | None, typer.Option(metavar="FILE", help="LiteLLM's map of prices (JSON), asked before our table.")
    ] = None
    step_headers: Annotated[
        bool,
        typer.Option("--step-headers", help="Tell the endpoint protocol and step in headers; our own server always."),
    ] = False
    transport: Annotated[
        str,
        typer.Option(
            metavar="HOW",
            help="chat; batch: the provider's batch API, half the price; local: --judge is a model folder or a hub id, "
            "run here by vLLM.",
        ),
    ] = "chat"
    gpus: Annotated[int, typer.Option(metavar="N", min=0, help="GPUs of a local model; 0 runs it on the CPU.")] = 0
    dtype: Annotated[str, typer.Option(help="Of a local model: bfloat16, float16 or float32; auto: by --gpus.")] = (
        "auto"
    )
    batch_max_rows: Annotated[int, typer.Option(metavar="N", min=1, help="Requests per file of the batch API.")] = (
        20_000
    )
    batch_max_enqueued_tokens: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="Tokens in the provider's batch queue at once; default: what it says when full."
        ),
    ] = None
    timeout_s: Annotated[float | None, typer.Option(help="Seconds for one attempt.", show_default=False)] = None
    max_attempts: Annotated[
        int | None, typer.Option(help="Attempts per request; waiting for a limit is none.", show_default=False)
    ] = None
    give_up_s: Annotated[
        float | None, typer.Option(help="Seconds of silence after which an endpoint is down.", show_default=False)
    ] = None
    max_tokens_field: Annotated[
        str | None, typer.Option(metavar="NAME", help="max_tokens or max_completion_tokens.", show_default=False)
    ] = None
    max_reply_tokens: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Longest reply, thinking included; default: the protocol's.")
    ] = None
    reasoning_effort: Annotated[
        str | None, typer.Option(metavar="HOW", help="minimal, low, medium or high, for reasoning models.")
    ] = None
    retry_unreadable: Annotated[
        int,
        typer.Option(metavar="N", min=0, max=10, help="Further draws where a reply is unreadable, cut or missing."),
    ] = 0

    def reach(self) -> dict[str, Any]:
        """The fields that the flags set; where a flag says nothing the door's default holds."""
        found = {
            "api_key_env": self.api_key_env,
            "transport": self.transport,
            "local": {"gpus": self.gpus, "dtype": self.dtype},
            "batch": {"max_rows": self.batch_max_rows, "max_enqueued_tokens": self.batch_max_enqueued_tokens},
            "requests_per_min": self.rpm,
            "tokens_per_min": self.tpm,
            "max_concurrency": self.concurrency,
            "timeout_s": self.timeout_s,
            "max_attempts": self.max_attempts,
            "give_up_s": self.give_up_s,
            "step_headers": self.step_headers or None,
            "max_tokens_field": self.max_tokens_field,
            "max_reply_tokens": self.max_reply_tokens,
            "reasoning_effort": self.reasoning_effort,
            "usd_per_million_input": self.usd_per_million_input,
            "usd_per_million_output": self.usd_per_million_output,
            "usd_per_million_cached": self.usd_per_million_cached,
            "price_map": self.price_map,
        }
        return {name: value for name, value in found.items() if value is not None}


@dataclass(frozen=True)
class PairwiseOptions:
    """How pairs are put to a judge."""

    strategy: Annotated[
        list[str] | None, typer.Option(help="Pairwise strategy, our name or LLMBar's; may be repeated.")
    ] = None
    mode: ModeOption = "strict"
    patterns: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="JSON with the patterns that read a verdict, per judge/strategy."),
    ] = None
    prompts: Annotated[Path | None, typer.Option(metavar="DIR", help="Your own prompts, in files of our names.")] = None
    structured: Annotated[
        bool, typer.Option("--structured", help="Ask for a JSON schema, which a small local judge cannot miss.")
    ] = False
    limit: LimitOption = None

    @property
    def strategies(self) -> list[str]:
        """Those asked for; the plain one by default."""
        return self.strategy or ["vanilla"]


StudyBesideOption = Annotated[
    str | None, typer.Option(metavar="STUDY", help="Study whose tasks, criteria and plug-ins are known too.")
]


@dataclass(frozen=True)
class ScoreOptions:
    """How a file of predictions is scored."""

    task: Annotated[str, typer.Option(help="Task of rows that name none.")] = INSTRUCTIONS
    study: StudyBesideOption = None
    mode: ModeOption = "strict"
    overrides: Annotated[
        list[str] | None,
        set_option("E.g. sbert.model=FOLDER, bertscore.layer=9, judge.model=NAME.", SCORER_PARAM),
    ] = None
    storage: Annotated[str, storage_option("Where the ledger of replies lies.")] = "runs"
    keep_replies: Annotated[bool, typer.Option(help="Write the judge's raw replies too (`judge_reply`).")] = False
    retry_unreadable: Annotated[
        int,
        typer.Option(
            metavar="N", min=0, max=10, help="Further draws of the judge where a reply is unreadable, cut or missing."
        ),
    ] = 0


@dataclass(frozen=True)
class ColumnOptions:
    """Which columns of a table of scores are no scorers."""

    task: Annotated[str | None, typer.Option(help="Column that names the task, for CIT and CAT.")] = None
    group: Annotated[str | None, typer.Option(help="Column of the unit that is resampled and grouped by.")] = None
    arm: Annotated[
        str | None, typer.Option(help="Column of models or mixtures whose human mean is wanted one by one.")
    ] = None
    target_rows: Annotated[
        str | None, typer.Option(metavar="COL", help="Column of N, the target rows trained on, for TFA; needs --task.")
    ] = None
    run: Annotated[
        str | None,
        typer.Option(
            metavar="COL",
            help="Column of trained models, the clusters of TFA; without it and --group each row is a model's mean.",
        ),
    ] = None
