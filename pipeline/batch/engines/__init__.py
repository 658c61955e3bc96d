"""The engines: where the stages of a batch run."""
