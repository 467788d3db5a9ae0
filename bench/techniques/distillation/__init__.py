"""A smaller model in place of the baseline, taught by it or, as a control, not."""
