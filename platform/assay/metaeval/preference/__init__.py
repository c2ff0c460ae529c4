"""What a study of preference methods reports: arms against their start and against best of n. NumPy alone."""
