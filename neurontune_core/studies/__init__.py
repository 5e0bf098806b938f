"""Studies: the pipeline under several settings, and what the comparison says."""
