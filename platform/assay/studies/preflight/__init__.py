"""A few minutes before a sweep that may take days: each base trains a step, its engine answers, the judge is asked."""
