"""The command line of the server, shared by `assay judge-server` and `python -m assay.judge_server`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from assay.config import validate
from assay.errors import ConfigError
from assay.judge_server.config import JudgeServerConfig, parse_pairs
from assay.judge_server.replay.recordings import dataset_files
from assay.option_groups import FieldsOf, with_groups


class JudgeServerCommand(TyperCommand):
    """Takes `--replay=FILE` for `--replay FILE`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As Typer's, with that flag and its file apart."""
        apart = [part for arg in args for part in (arg.split("=", 1) if arg.startswith("--replay=") else [arg])]
        return super().parse_args(ctx, apart)


@dataclass(frozen=True)
class Recordings:
    """Which recorded exchanges are replayed, if any."""

    files: Annotated[
        list[Path] | None, typer.Argument(help="Recorded exchanges after --replay.", metavar="[FILE]...")
    ] = None
    rubric: Annotated[bool, typer.Option("--rubric", help="Answer by rules (the default).")] = False
    replay: Annotated[
        bool,
        typer.Option("--replay", help="Replay recorded exchanges: .jsonl, .jsonl.gz, .jsonl.xz, or folders of them."),
    ] = False
    data: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE|DIR", help="Dataset of the recorded instances (else read from the exchanges); repeatable."
        ),
    ] = None

    def fields(self) -> dict[str, object]:
        """What they say of the server.

        Raises:
            ConfigError: rules and recordings both, or files without --replay.
        """
        if self.rubric and (self.replay or self.files):
            raise ConfigError("--rubric with --replay: expected one of them; leave one out")
        if self.files and not self.replay:
            raise ConfigError(f"saw file {self.files[0]} without --replay; expected --replay FILE...")
        mode = "replay" if self.replay else "rubric"
        return {"mode": mode, "replay": self.files or [], "data": dataset_files(self.data or [])}


PLAIN_FIELDS = (
    "judge", "strategy", "seed", "fault_status", "hang_s", "rpm", "tpm", "window", "window_s", "burst_s",
    "concurrency", "latency_ms", "latency_shape", "latency_sigma", "response_format", "batch_delay_s",
    "batch_queue_tokens", "cache_tokens", "host", "port",
)  # fmt: skip
"""Fields of the configuration whose flags are their names."""


def _judge_server(
    *,
    recordings: Recordings,
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
            "flagged, inner_error, html, cut, no_usage, quota, max_tokens, temperature, top_logprobs (refused), "
            "thinking, unfinished, finish_error, stream, retry_info, reasoning, moved."
        ),
    ] = "",
    model: Annotated[
        list[str] | None, typer.Option(help="Name for /v1/models; repeatable. Default: the recorded judges.")
    ] = None,
    plain: Annotated[Mapping[str, object], FieldsOf(JudgeServerConfig, PLAIN_FIELDS)],
    watch_parent: Annotated[bool, typer.Option("--watch-parent", hidden=True)] = False,
) -> None:
    """A local OpenAI-compatible server: a rubric judge, or recorded judges. The first line is its base URL."""
    from assay.judge_server.server.serving import serve

    planted = {
        ("self_preference" if name == "self" else name): value for name, value in parse_pairs(bias, "--bias").items()
    }
    fields = {**plain, **recordings.fields(), "bias": planted, "faults": parse_pairs(faults, "--faults")}
    if model:
        fields["models"] = model
    serve(validate(JudgeServerConfig, fields, "judge-server"), watch_parent=watch_parent)


judge_server_command = with_groups(_judge_server)
