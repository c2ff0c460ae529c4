"""The base model that a process keeps between trials, and what every trial of the process shares.

Loading a base takes seconds and setting up DeepSpeed's communication takes more; an adapter takes hundredths of a
second. So a worker keeps its base and changes adapters, and a trial's weights do not depend on what ran before it.
"""

from __future__ import annotations

import contextlib
import gc
import io
import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import deepspeed
import numpy.typing as npt
import torch
import torch.distributed
from peft import PeftModel
from torch import nn
from torch.utils.cpp_extension import get_default_build_root
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from assay.adapter_files import check_adapter
from assay.errors import InputError, ResourceError
from assay.training.batching import MicroBatch, TrainRow, pad
from assay.training.engine.kernel_build import clear_stale_locks, use_own_build
from assay.training.memory import PassSize
from assay.training.targets import OTHER_SENSES

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_DROPOUT_FIELDS = (
    "attention_dropout", "hidden_dropout", "attn_pdrop", "resid_pdrop", "embd_pdrop", "dropout", "activation_dropout",
    "residual_dropout", "embedding_dropout",
)  # fmt: skip
NAMES_SHOWN = 5
"""Tokens that a refusal names."""
MOST_OFFSET = 8
"""Rows of a table of positions beyond the positions themselves (OPT has 2)."""
_PACKING_TOLERANCE = 1e-3
"""Largest relative difference of logits between rows packed together and alone that is rounding."""


class ResidentBase:
    """A base model and its tokenizer in this process. One at a time: `resident_base` swaps it."""

    def __init__(self, path: str, *, dtype: str, device: str, start_adapter_dir: str | None = None) -> None:
        """Load from a local folder, safetensors only, no code from the folder.

        Args:
            path: Hugging Face folder with a tokenizer.
            dtype: "float32" or "bfloat16".
            device: "cpu" or "cuda".
            start_adapter_dir: a PEFT folder that is merged into the weights.

        Raises:
            InputError: the folder does not hold a causal language model.
        """
        self.path, self.dtype, self.device = path, dtype, device
        self.start_adapter_dir = start_adapter_dir
        try:
            config = AutoConfig.from_pretrained(path, local_files_only=True, trust_remote_code=False)
            for name in _DROPOUT_FIELDS:  # the adapter's dropout is the only one: theirs follows the batch's shape
                if isinstance(getattr(config, name, None), float):
                    setattr(config, name, 0.0)
            self.tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)
            model = AutoModelForCausalLM.from_pretrained(
                path, config=config, dtype=DTYPES[dtype], local_files_only=True, use_safetensors=True,
                trust_remote_code=False, **_straight_to(device),
            )  # fmt: skip
        except (OSError, ValueError, KeyError) as error:
            reason = " ".join(str(error).split())[:200]
            raise InputError(
                f"base model {path}: cannot be loaded ({reason}); expected a causal language model"
            ) from error
        if start_adapter_dir is not None:
            model = PeftModel.from_pretrained(model, check_adapter(start_adapter_dir)).merge_and_unload()
        model.config.use_cache = False
        model.requires_grad_(False)
        self.model: nn.Module = model.to(device).eval()
        self.model_type = str(model.config.model_type)
        self._packing_is_sound: bool | None = None
        self.learned_sizes: dict[tuple[object, ...], PassSize] = {}
        """What fitted after a pass of a training had run out of memory, by what passes take memory for: the next
        training of the kind begins with it."""

    @property
    def pad_id(self) -> int:
        """Token that fills up sequences; any will do, as nothing is trained on it and no row sees it."""
        asked = (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id)
        return next((int(place) for place in asked if place is not None and place < self.num_embeddings), 0)

    @property
    def num_embeddings(self) -> int:
        """Tokens that the model has vectors for."""
        return int(self.model.get_input_embeddings().num_embeddings)

    def check_rows(self, rows: Sequence[TrainRow]) -> None:
        """Refuse rows that the model cannot read, before anything is trained.

        Raises:
            InputError: a row has tokens without a vector, or is longer than the model's table of positions.
        """
        largest = max((int(row.tokens.max()) for row in rows), default=0)
        if largest >= self.num_embeddings:
            used = {token for row in rows for token in row.tokens[row.tokens >= self.num_embeddings].tolist()}
            names = [repr(self.tokenizer.convert_ids_to_tokens(token)) for token in sorted(used)]
            more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
            raise InputError(
                f"base model {Path(self.path).name}: saw the tokens {', '.join(names[:NAMES_SHOWN])}{more} in training "
                f"rows, and vectors for {self.num_embeddings} tokens; expected no new tokens; resize and train the "
                "model's embeddings before, or use the tokenizer that it came with"
            )
        longest = max((len(row.tokens) - 1 for row in rows), default=0)
        if (limit := table_of_positions(self.model)) is not None and longest > limit:
            raise InputError(
                f"base model {Path(self.path).name}: saw training rows of {longest + 1} tokens and a table of {limit} "
                f"positions; expected rows within it; set train.max_length={limit}"
            )

    def linear_names(self) -> list[str]:
        """Dotted names of the linear layers, see `linear_layers`."""
        return linear_layers(self.model)

    def embedding_names(self) -> list[str]:
        """Last parts of the names of what reads and writes tokens."""
        ends = (self.model.get_input_embeddings(), self.model.get_output_embeddings())
        return [name.rpartition(".")[2] for name, module in self.model.named_modules() if module in ends]

    def has_other_senses(self) -> bool:
        """Whether parts of the model read images or sound: no adapter goes there."""
        return has_other_senses(self.model)

    def packing_is_sound(self) -> bool:
        """Whether two rows packed into one sequence get the logits that each gets alone. Tried once per base."""
        if self._packing_is_sound is None:
            generator = torch.Generator().manual_seed(0)
            vocabulary = self.model.get_input_embeddings().num_embeddings
            rows = [
                TrainRow(torch.randint(vocabulary, (length,), generator=generator).int().numpy(), 1, place)
                for place, length in enumerate((9, 6))
            ]
            try:
                packed = self._logits(pad([rows], pad_id=self.pad_id, loss_on="all"))[0]
                alone = [self._logits(pad([[row]], pad_id=self.pad_id, loss_on="all"))[0] for row in rows]
            except (TypeError, ValueError, RuntimeError):  # the model takes no positions
                self._packing_is_sound = False
            else:
                difference = (packed - torch.cat(alone)).abs().max()
                limit = _PACKING_TOLERANCE if self.dtype == "float32" else 30 * _PACKING_TOLERANCE
                self._packing_is_sound = bool(difference <= limit * packed.abs().max())
        return self._packing_is_sound

    @torch.no_grad()
    def _logits(self, batch: MicroBatch) -> torch.Tensor:
        self.model.eval()
        return self.model(**model_inputs(batch, self.device), use_cache=False).logits.float()


def model_inputs(batch: MicroBatch, device: str) -> dict[str, torch.Tensor]:
    """What a model is called with; positions only where rows are packed, as they are what keeps attention inside each.

    Transformers makes the mask from them where no mask is given, and flash attention takes the rows' lengths.
    """
    inputs = {"input_ids": on_device(batch.input_ids, device)}
    if batch.is_packed:
        inputs["position_ids"] = on_device(batch.positions, device)
    return inputs


def on_device(array: npt.NDArray[Any], device: str) -> torch.Tensor:
    """An array as a tensor there, without waiting for what the device has still to do."""
    tensor = torch.from_numpy(array)
    return tensor if device == "cpu" else tensor.pin_memory().to(device, non_blocking=True)


class TargetSelector:
    """Lets the output head see only the positions whose next token is trained.

    With answers of a few tokens after long prompts, and a vocabulary larger than the model is wide, the head is most
    of the work and nearly all of it would be thrown away.
    """

    def __init__(self, model: nn.Module) -> None:
        self.kept_T: torch.Tensor | None = None
        """Places of these positions in the flattened batch, known before the pass: a mask would have to be read back
        from the device. None lets the head see all."""
        self._handle = model.get_output_embeddings().register_forward_pre_hook(self._select)

    def _select(self, _module: nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...] | None:
        if self.kept_T is None:
            return None
        hidden = args[0]
        return (hidden.reshape(-1, hidden.shape[-1]).index_select(0, self.kept_T), *args[1:])

    def remove(self) -> None:
        """Take the hook off the model."""
        self._handle.remove()


_resident: list[ResidentBase] = []
"""At most one: two bases would need twice the memory."""


def resident_base(path: str, *, dtype: str, device: str, start_adapter_dir: str | None = None) -> ResidentBase:
    """This process's base model, loaded if it is not the one that is there; the old one is let go first."""
    wanted = (path, dtype, device, start_adapter_dir)
    for base in _resident:
        if (base.path, base.dtype, base.device, base.start_adapter_dir) == wanted:
            return base
    if _resident:
        del base  # or the old weights live until this function returns
        _resident.clear()
    gc.collect()  # a model is part of reference cycles, and two of them would not fit
    if device == "cuda":
        torch.cuda.empty_cache()
    _resident.append(ResidentBase(path, dtype=dtype, device=device, start_adapter_dir=start_adapter_dir))
    return _resident[0]


def forget_resident_base() -> None:
    """Let the process's base go; the next trial loads it again."""
    _resident.clear()


def device_of(gpus_per_worker: float) -> str:
    """Device "cuda" where a share of a GPU was asked for, else "cpu".

    Raises:
        ResourceError: a GPU was asked for and torch sees none.
    """
    if gpus_per_worker == 0:
        return "cpu"
    if not torch.cuda.is_available():
        raise ResourceError(
            f"training resources: saw gpus_per_worker={gpus_per_worker:g} and no CUDA device; expected a GPU and the "
            "CUDA build of torch; set gpus_per_worker: 0"
        )
    return "cuda"


def pin_threads(threads: int) -> None:
    """Fix torch's thread count: the order of float sums, and so the last bits of a result, follows it."""
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)


def init_distributed(device: str = "cpu") -> None:
    """DeepSpeed's communication for this process, once. A process alone needs no port and no other host.

    The first call in an environment builds DeepSpeed's shared-memory kernel (about half a minute): see `warm_up`.
    """
    if deepspeed.comm.is_initialized():
        return
    quiet_engines()
    clear_stale_locks(use_own_build(get_default_build_root(), torch.__version__), now_s=time.time())
    backend = "nccl" if device == "cuda" else "gloo"
    with _quiet_stdout():
        if not torch.distributed.is_initialized():
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
            for name, value in (("RANK", "0"), ("LOCAL_RANK", "0"), ("WORLD_SIZE", "1")):
                os.environ.setdefault(name, value)
            store = torch.distributed.HashStore()
            torch.distributed.init_process_group(backend, store=store, rank=0, world_size=1)
        deepspeed.init_distributed(dist_backend=backend, auto_mpi_discovery=False)


def warm_up() -> None:
    """Build what DeepSpeed builds at its first use in an environment, so that no trial waits for it."""
    init_distributed("cpu")


def quiet_engines() -> None:
    """DeepSpeed logs each call at INFO to standard output; warnings and errors stay."""
    for name in ("DeepSpeed", "deepspeed", "torch.distributed"):
        logging.getLogger(name).setLevel(logging.ERROR)


def merge_adapter(base_path: str, adapter_dirs: Sequence[str], out_dir: Path, *, dtype: str = "float32") -> None:
    """Write a base model with adapters merged into it, tokenizer included, for engines that want one folder."""
    base = ResidentBase(base_path, dtype=dtype, device="cpu")
    model = base.model
    for adapter_dir in adapter_dirs:
        model = PeftModel.from_pretrained(model, check_adapter(adapter_dir)).merge_and_unload()
    base.model = model
    save_model(base, out_dir)


def save_model(base: ResidentBase, folder: Path) -> None:
    """Write a base as it is now, tokenizer included, in shards of at most 2 GB."""
    base.model.config.use_cache = True  # off for training alone
    base.model.save_pretrained(folder, safe_serialization=True, max_shard_size="2GB")
    base.tokenizer.save_pretrained(folder)


def _straight_to(device: str) -> dict[str, object]:
    """Weights are read onto a GPU at once: by way of the CPU each trial would need the whole model in RAM."""
    return {"device_map": {"": device}} if device != "cpu" else {}


@contextmanager
def _quiet_stdout() -> Iterator[None]:
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def table_of_positions(model: nn.Module) -> int | None:
    """Tokens that a model's table of positions, or its stored mask, has room for; None where positions are computed.

    Tables are known by their size, the number of positions that the model's configuration names.
    """
    limit = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if not isinstance(limit, int) or limit < 1:
        return None
    reads_tokens = model.get_input_embeddings()
    modules = (m for m in model.modules() if isinstance(m, nn.Embedding) and m is not reads_tokens)
    tables = [module.num_embeddings for module in modules]
    tables += [size for buffer in model.buffers() if buffer.dim() > 1 for size in buffer.shape]
    return limit if any(limit <= size <= limit + MOST_OFFSET for size in tables) else None


def has_other_senses(model: nn.Module) -> bool:
    """Whether parts of a model read images or sound."""
    return any(OTHER_SENSES.fullmatch(name) for name, _ in model.named_modules())


def linear_layers(model: nn.Module) -> list[str]:
    """Dotted names of a model's linear layers, the output head and what reads images or sound left out."""
    from transformers.pytorch_utils import Conv1D

    head = model.get_output_embeddings()
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, (nn.Linear, Conv1D)) and module is not head and not OTHER_SENSES.fullmatch(name)
    ]


if __name__ == "__main__":
    warm_up()
