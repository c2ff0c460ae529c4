"""Studies that compare models by the Instruction Following Score, without training any."""
