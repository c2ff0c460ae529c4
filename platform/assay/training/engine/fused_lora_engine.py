"""A LoRA layer on a CPU in bfloat16 as one function: products alone, no passes over memory between them.

PEFT scales the adapter's output and adds it to the layer's in passes of their own, forward and backward, and autograd
adds the gradients of both branches in another. On a CPU whose bfloat16 products are fast these passes, not the
products, are what a step takes. Here scale and sum are part of the products (`addmm`), so the sums are rounded once
less. float32 keeps PEFT's own way, to the bit.
"""

from __future__ import annotations

from typing import Any

import torch
from peft.tuners.lora import Linear as LoraLinear
from torch import nn
from torch.nn import functional as F  # noqa: N812


class _Sum(torch.autograd.Function):
    """x W' + bias + scale (z A') B', where z is x or its dropped-out copy; W and bias are frozen."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, z: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None,
        a: torch.Tensor, b: torch.Tensor, scale: float,
    ) -> torch.Tensor:  # fmt: skip
        rows, dropped = x.reshape(-1, x.shape[-1]), z.reshape(-1, z.shape[-1])
        inner = dropped @ a.T
        out = F.linear(rows, weight, bias).addmm_(inner, b.T, alpha=scale)
        ctx.save_for_backward(dropped, inner, weight, a, b)
        ctx.scale, ctx.shape, ctx.is_one = scale, x.shape, z is x
        return out.reshape(*x.shape[:-1], out.shape[-1])

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        dropped, inner, weight, a, b = ctx.saved_tensors
        flat = grad.reshape(-1, grad.shape[-1])
        through_b = (flat @ b).mul_(ctx.scale)  # (rows, rank): small
        grad_b = (flat.T @ inner).mul_(ctx.scale)
        grad_a = through_b.T @ dropped
        grad_x = grad_z = None
        if ctx.needs_input_grad[0]:
            grad_x = flat @ weight
            if ctx.is_one:
                grad_x.addmm_(through_b, a)
            grad_x = grad_x.reshape(ctx.shape)
        if ctx.needs_input_grad[1] and not ctx.is_one:
            grad_z = (through_b @ a).reshape(ctx.shape)
        return grad_x, grad_z, None, None, grad_a, grad_b, None


class _Layer:
    """Stands in for the forward of one PEFT layer while it trains; else PEFT's own answers."""

    def __init__(self, layer: LoraLinear, adapter: str) -> None:
        self._layer, self._adapter, self._plain = layer, adapter, layer.forward

    def __call__(self, x: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
        layer, name = self._layer, self._adapter
        if not layer.training or layer.disable_adapters or layer.merged or args or options:
            return self._plain(x, *args, **options)
        base = layer.get_base_layer()
        z = layer.lora_dropout[name](x)
        a, b = layer.lora_A[name].weight, layer.lora_B[name].weight
        return _Sum.apply(x, z, base.weight, base.bias, a, b, layer.scaling[name])


def fuse(model: nn.Module, adapter: str = "default") -> int:
    """Let the model's LoRA layers work so; returns their number. Plain LoRA on linear layers in bfloat16 alone."""
    count = 0
    for layer in model.modules():
        if type(layer) is not LoraLinear or layer.lora_variant.get(adapter) is not None:
            continue
        base = layer.get_base_layer()
        if type(base) is nn.Linear and base.weight.dtype == torch.bfloat16 == layer.lora_A[adapter].weight.dtype:
            layer.forward = _Layer(layer, adapter)
            count += 1
    return count
