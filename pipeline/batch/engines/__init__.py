"""Where the stages of a batch run."""
