"""The command line of the server, shared by `assay judge-server` and `python -m assay.judge_server`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from assay.config import validate
from assay.errors import ConfigError
from assay.judge_server.config import TOKEN_ENV, JudgeServerConfig, parse_pairs
from assay.judge_server.replay.recordings import dataset_files


class JudgeServerCommand(TyperCommand):
    """Takes `--replay=FILE` for `--replay FILE`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As Typer's, with that flag and its file apart."""
        apart = [part for arg in args for part in (arg.split("=", 1) if arg.startswith("--replay=") else [arg])]
        return super().parse_args(ctx, apart)


def judge_server_command(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Recorded exchanges after --replay.", metavar="[FILE]...")
    ] = None,
    rubric: Annotated[bool, typer.Option("--rubric", help="Answer by rules (the default).")] = False,
    replay: Annotated[
        bool,
        typer.Option("--replay", help="Replay recorded exchanges: .jsonl, .jsonl.gz, .jsonl.xz, or folders of them."),
    ] = False,
    data: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE|DIR", help="Dataset of the recorded instances (else read from the exchanges); repeatable."
        ),
    ] = None,
    judge: Annotated[str | None, typer.Option(help="Replay this judge.")] = None,
    strategy: Annotated[str | None, typer.Option(help="Strategy of requests without X-Assay-Protocol.")] = None,
    seed: Annotated[int, typer.Option(help="Of noise, faults and latency.")] = 0,
    bias: Annotated[
        str,
        typer.Option(
            help='Planted biases: "position=.1,length=.05,format=.1,noise=.04,call_noise=0,self=.1,injection=.5".'
        ),
    ] = "",
    faults: Annotated[
        str,
        typer.Option(
            help='"5xx=.05,429=.01,hang=.01,reset=.02,truncated=.02,empty=.02,format=.05,refusal=.02,filter=.01"; also '
            "flagged, inner_error, html, cut, no_usage, quota, max_tokens, temperature, top_logprobs (refused)."
        ),
    ] = "",
    fault_status: Annotated[int, typer.Option(help="Status of a 5xx fault.")] = 503,
    hang_s: Annotated[float, typer.Option(help="How long a hanging request is held.")] = 600.0,
    rpm: Annotated[int | None, typer.Option(help="Requests per minute.")] = None,
    tpm: Annotated[int | None, typer.Option(help="Tokens per minute.")] = None,
    window: Annotated[str, typer.Option(help="fixed or bucket.")] = "bucket",
    window_s: Annotated[float, typer.Option(help="Length of a fixed window.")] = 60.0,
    burst_s: Annotated[float, typer.Option(help="Capacity of a bucket, in seconds of its rate.")] = 60.0,
    concurrency: Annotated[int | None, typer.Option(help="Requests in work at once.")] = None,
    latency_ms: Annotated[float, typer.Option(help="Mean time to answer.")] = 0.0,
    latency_shape: Annotated[str, typer.Option(help="lognormal or constant.")] = "lognormal",
    latency_sigma: Annotated[float, typer.Option(help="Spread of a lognormal latency.")] = 0.5,
    response_format: Annotated[
        str, typer.Option(help="honour, or refuse with 400 as servers without structured output do.")
    ] = "honour",
    batch_delay_s: Annotated[float, typer.Option(help="Time that a batch takes.")] = 0.5,
    model: Annotated[
        list[str] | None, typer.Option(help="Name for /v1/models; repeatable. Default: the recorded judges.")
    ] = None,
    host: Annotated[
        str, typer.Option(help=f"Address; other than loopback needs {TOKEN_ENV} in the environment.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free one.")] = 0,
    watch_parent: Annotated[bool, typer.Option("--watch-parent", hidden=True)] = False,
) -> None:
    """A local OpenAI-compatible server: a rubric judge, or recorded judges. The first line is its base URL."""
    from assay.judge_server.server.serving import serve

    if rubric and (replay or files):
        raise ConfigError("--rubric with --replay: expected one of them; leave one out")
    if files and not replay:
        raise ConfigError(f"saw file {files[0]} without --replay; expected --replay FILE...")
    fields: dict[str, object] = {
        "mode": "replay" if replay else "rubric",
        "replay": files or [],
        "data": dataset_files(data or []),
        "judge": judge,
        "strategy": strategy,
        "seed": seed,
        "bias": {
            ("self_preference" if name == "self" else name): value
            for name, value in parse_pairs(bias, "--bias").items()
        },
        "faults": parse_pairs(faults, "--faults"),
        "fault_status": fault_status,
        "hang_s": hang_s,
        "rpm": rpm,
        "tpm": tpm,
        "window": window,
        "window_s": window_s,
        "burst_s": burst_s,
        "concurrency": concurrency,
        "latency_ms": latency_ms,
        "latency_shape": latency_shape,
        "latency_sigma": latency_sigma,
        "response_format": response_format,
        "batch_delay_s": batch_delay_s,
        "host": host,
        "port": port,
    }
    if model:
        fields["models"] = model
    serve(validate(JudgeServerConfig, fields, "judge-server"), watch_parent=watch_parent)
