"""What a study would do and cost, told before anything runs."""
