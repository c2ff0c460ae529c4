"""How fast a device trains and answers, for pricing: a table of devices, or what a probe of yours measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from assay.config import Config, read_yaml, validate
from assay.errors import ConfigError

TABLE = Path(__file__).with_name("throughput.yaml")
TRAIN_FLOPS, DECODE_FLOPS = 4.0, 2.0
"""Per parameter and token. Training: 2 forward and 2 backward through activations; frozen weights need no gradient."""


class Device(Config):
    """One kind of GPU."""

    peak_tflops: float = Field(gt=0)
    """bf16, dense, from the data sheet."""
    train_share: float = Field(gt=0, le=1)
    """Of the peak that LoRA training with packed rows reaches."""
    decode_share: float = Field(gt=0, le=1)
    """The same for batched greedy decoding, which waits on memory."""


class Throughput(Config):
    """The table."""

    date: str
    default: str
    devices: Mapping[str, Device]


@dataclass(frozen=True)
class Rates:
    """What GPU-hours are computed from."""

    device: str
    spec: Device
    train_tokens_per_s: float | None = None
    """Measured on the study's own base models; None: from the device's table entry and the model's size."""
    generate_tokens_per_s: float | None = None
    """Prompt and answer tokens together, measured; None: from the table."""

    def train_s(self, tokens: float, parameters: float) -> float:
        """Seconds of one device."""
        if self.train_tokens_per_s is not None:
            return tokens / self.train_tokens_per_s
        return TRAIN_FLOPS * parameters * tokens / (self.spec.peak_tflops * 1e12 * self.spec.train_share)

    def generate_s(self, tokens: float, parameters: float) -> float:
        """Seconds of one device."""
        if self.generate_tokens_per_s is not None:
            return tokens / self.generate_tokens_per_s
        return DECODE_FLOPS * parameters * tokens / (self.spec.peak_tflops * 1e12 * self.spec.decode_share)

    @property
    def note(self) -> str:
        """What the hours rest on."""
        parts = []
        for what, measured, share in (
            ("training", self.train_tokens_per_s, self.spec.train_share),
            ("decoding", self.generate_tokens_per_s, self.spec.decode_share),
        ):
            if measured is not None:
                parts.append(f"{measured:,.0f} tokens/s in {what} (measured, as you say)")
            else:
                parts.append(f"{share:.0%} of {self.spec.peak_tflops:g} TFLOP/s in {what} (assumed)")
        return f"gpu_hours: {self.device}, " + ", ".join(parts) + f"; table of {_table().date}"


def rates(
    device: str | None = None, train_tokens_per_s: float | None = None, generate_tokens_per_s: float | None = None
) -> Rates:
    """Rates of a device of the table, with measured figures in the place of assumed ones.

    Raises:
        ConfigError: an unknown device, or a measured rate that is not above 0.
    """
    table = _table()
    name = device or table.default
    if name not in table.devices:
        raise ConfigError(f"--device {name}: expected one of {', '.join(table.devices)}")
    for option, value in (
        ("--train-tokens-per-s", train_tokens_per_s),
        ("--generate-tokens-per-s", generate_tokens_per_s),
    ):
        if value is not None and value <= 0:
            raise ConfigError(f"{option} {value:g}: expected a rate above 0")
    return Rates(name, table.devices[name], train_tokens_per_s, generate_tokens_per_s)


def _table() -> Throughput:
    data = read_yaml(TABLE)
    return validate(Throughput, {**data, "date": str(data["date"])}, TABLE.name)
