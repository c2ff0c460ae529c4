"""Judge protocols as published and beyond: what a judge is asked, step by step."""
