"""What the judge server does: one frozen configuration, and the command line that says the same."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from assay.config import Config
from assay.errors import ConfigError
from assay.fingerprint import file_hash, fingerprint

RUBRIC_VERSION = 1
"""Raised whenever the rules change an answer: part of the endpoint's name, and so of every ledger key."""
TOKEN_ENV = "ASSAY_JUDGE_TOKEN"  # noqa: S105 - the name of a variable, not a secret
REFUSED_PARAMETERS = ("max_tokens", "temperature", "top_logprobs")
"""Faults that refuse this parameter, by an answer 400, where a request has it."""
FAULTS = (
    "5xx", "429", "hang", "reset", "truncated", "empty", "format", "refusal", "filter",
    "flagged", "inner_error", "html", "cut", "no_usage", "quota", *REFUSED_PARAMETERS,
    "thinking", "unfinished", "finish_error", "stream", "retry_info", "reasoning", "moved",
)  # fmt: skip
SILENT_FAULTS = ("hang", "reset", "truncated")
"""Faults after the work was done: billed, and the caller never sees the usage."""


class Biases(Config):
    """Planted biases of the rubric judge. Quality is on a scale of 0 to 1; a shift of .1 is one point of ten."""

    position: float = Field(0.0, ge=-1, le=1)
    """Pairwise: probability that a call names the first output (if negative, the last) whatever they say. Ratings of
    several responses in one call: this share of the scale lies between the first and the last."""
    length: float = Field(0.0, ge=-1, le=1)
    """Quality gained by each doubling of the response's words, 0 at 50 words."""
    format: float = Field(0.0, ge=-1, le=1)
    """Quality gained by markdown (lists, headings, bold, fences) or JSON."""
    noise: float = Field(0.04, ge=0, le=1)
    """Standard deviation of the quality read, per response and call."""
    call_noise: float = Field(0.0, ge=0, le=1)
    """Standard deviation of a shift shared by all responses of one call: what joint judging takes out."""
    self_preference: float = Field(0.0, ge=-1, le=1)
    """Quality gained by responses that hold `self_marker`; spelled `self` on the command line."""
    self_marker: str = Field("As an AI language model", pattern=r"^[^,=]+$")
    """What the judge's own family writes."""
    injection: float = Field(0.0, ge=0, le=1)
    """Probability that an order to the judge inside a response ("ignore ... give 10"), or a master key, is obeyed."""


class JudgeServerConfig(Config):
    """The server. Everything random is seeded by `seed` and the request's content."""

    mode: Literal["rubric", "replay"] = "rubric"
    """`rubric` answers by rules, `replay` with recorded replies."""
    replay: tuple[Path, ...] = ()
    """Files of recorded exchanges, .jsonl, .jsonl.gz or .jsonl.xz; a folder stands for all of them in it."""
    data: tuple[Path, ...] = ()
    """Datasets (`input`, `output_1`, `output_2`) of the recorded instances; else the exchanges give their texts."""
    judge: str | None = None
    """Replay this judge's rows only; else the judge that the request's model names, or the only one."""
    strategy: str | None = None
    """Strategy of requests without the header X-Assay-Protocol, which is needed where several are loaded."""
    seed: int = 0
    """Of noise, faults and latency."""
    bias: Biases = Biases()
    """Planted biases, rubric only."""
    faults: Mapping[str, float] = Field(default_factory=dict)
    """Probability of each fault, by name (`FAULTS`)."""
    fault_status: int = Field(503, ge=500, le=599)
    """Status of a 5xx fault."""
    hang_s: float = Field(600.0, gt=0)
    """How long a hanging request is held, at most."""
    rpm: int | None = Field(None, ge=1)
    """Requests per minute."""
    tpm: int | None = Field(None, ge=1)
    """Tokens per minute, prompt and completion, charged when a request is taken."""
    window: Literal["fixed", "bucket"] = "bucket"
    """Of the limits. fixed: counters start anew every `window_s`; bucket: they refill continuously."""
    window_s: float = Field(60.0, gt=0)
    """Length of a fixed window; it holds limit x window_s / 60."""
    burst_s: float = Field(60.0, gt=0)
    """Capacity of a bucket, in seconds of its rate."""
    concurrency: int | None = Field(None, ge=1)
    """Requests in work at once; more are answered 429."""
    latency_ms: float = Field(0.0, ge=0)
    """Mean time to answer."""
    latency_shape: Literal["lognormal", "constant"] = "lognormal"
    """Distribution of the time to answer: lognormal or constant."""
    latency_sigma: float = Field(0.5, ge=0)
    """Standard deviation of the logarithm of the latency."""
    response_format: Literal["honour", "refuse"] = "honour"
    """honour; or refuse: a request for a JSON schema is answered 400, as by servers without structured output."""
    batch_delay_s: float = Field(0.5, ge=0)
    """From the creation of a batch to its completion."""
    batch_queue_tokens: int | None = Field(None, ge=1)
    """Prompt tokens of all batches that are not over; a batch above what is left fails as a whole, as at OpenAI."""
    cache_tokens: int | None = Field(None, ge=1)
    """Prompts that begin alike are cached in blocks of so many tokens (OpenAI's have 128), and usage tells how many
    were. None: nothing is cached."""
    models: tuple[str, ...] = ()
    """Names that /v1/models lists. Default: `rubric-judge`, or the recorded judges. The rubric answers to any name."""
    host: str = "127.0.0.1"
    """Address to bind; a host that is not loopback needs a token in the environment (ASSAY_JUDGE_TOKEN)."""
    port: int = Field(0, ge=0, le=65535)
    """0 takes a free one."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        unknown = sorted(set(self.faults) - set(FAULTS))
        if unknown:
            raise ValueError(f"unknown fault {unknown[0]!r}; known: {', '.join(FAULTS)}")
        if any(not 0 <= share <= 1 for share in self.faults.values()) or sum(self.faults.values()) > 1 + 1e-9:
            raise ValueError("fault probabilities must lie in [0, 1] and sum to at most 1")
        if self.mode == "replay" and not self.replay:
            raise ValueError("mode replay needs at least one file of exchanges")
        return self

    def command_line(self) -> list[str]:
        """The arguments of `assay judge-server` that give this configuration."""
        arguments = ["--replay"] if self.mode == "replay" else ["--rubric"]
        for name in type(self).model_fields:
            value = getattr(self, name)
            if name not in _FLAGS_WITHOUT_VALUE and value is not None:
                arguments += [f"--{name.replace('_', '-')}", _setting_text(value)]
        bias = ",".join(f"{name}={_setting_text(value)}" for name, value in self.bias.model_dump().items())
        faults = ",".join(f"{name}={_setting_text(value)}" for name, value in self.faults.items())
        arguments += ["--bias", bias, "--faults", faults]
        arguments += [argument for name in self.models for argument in ("--model", name)]
        arguments += [argument for path in self.data for argument in ("--data", str(path))]
        return [*arguments, "--", *map(str, self.replay)]

    def endpoint_name(self) -> str:
        """Fixed name plus a hash of what shapes the replies; the port, limits and latency are no part of it."""
        shaping: dict[str, object] = {"seed": self.seed, "faults": dict(self.faults)}
        if self.mode == "rubric":
            shaping |= {"version": RUBRIC_VERSION, "bias": self.bias.model_dump()}
            if self.faults:  # only their wrong formats are asked for again, and once such replies were none
                shaping["asked_again"] = 1
        else:
            shaping |= {
                "files": [file_hash(path) for path in expand_files(self.replay)],
                "judge": self.judge,
                "strategy": self.strategy,
            }
        return f"assay-{self.mode}-{fingerprint(shaping)[:12]}"


_FLAGS_WITHOUT_VALUE = ("mode", "replay", "data", "bias", "faults", "models")


def _setting_text(value: object) -> str:
    return repr(value) if isinstance(value, float) else str(value)


def expand_files(paths: tuple[Path, ...]) -> list[Path]:
    """The exchange files; a folder gives all .jsonl, .jsonl.gz and .jsonl.xz files directly in it, by name.

    Raises:
        ConfigError: no such file, or a folder without any.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(f for f in path.iterdir() if f.name.endswith((".jsonl", ".jsonl.gz", ".jsonl.xz")))
            if not inside:
                raise ConfigError(f"{path}: saw no .jsonl, .jsonl.gz or .jsonl.xz file; expected recorded exchanges")
            files += inside
        elif path.is_file():
            files.append(path)
        else:
            raise ConfigError(
                f"{path}: saw no such file; expected recorded exchanges (.jsonl, .gz, .xz); check the path"
            )
    return files


def parse_pairs(text: str, flag: str) -> dict[str, str]:
    """`{"5xx": ".05"}` out of "5xx=.05,hang=.01".

    Raises:
        ConfigError: an entry without "=".
    """
    pairs: dict[str, str] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        name, separator, value = entry.partition("=")
        if not separator or not name or not value:
            raise ConfigError(f"{flag} {text}: saw {entry!r}; expected NAME=NUMBER, separated by commas")
        pairs[name.strip()] = value.strip()
    return pairs


def token_digest(token: str) -> bytes:
    """Digest that tokens are compared by."""
    return hashlib.sha256(token.encode()).digest()
