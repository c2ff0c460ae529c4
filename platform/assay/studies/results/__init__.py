"""What a finished study leaves: report, tracked runs, browsable rows, mixture files."""
