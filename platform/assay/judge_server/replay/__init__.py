"""The judge by recordings: raw replies of real judges, played back."""
