"""Adapters from mixtures: LoRA trials by PEFT and DeepSpeed, swept by Ray Tune on resident workers."""
