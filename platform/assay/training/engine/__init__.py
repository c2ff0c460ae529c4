"""One training: PEFT and DeepSpeed on one worker or several."""
