"""Reconciling: `ours` reads our rows, `merge` matches them in chunks, `rules` judges."""
