"""Studies: what is asked, expanded into cells, priced, and run from mixture to meta-evaluation."""
