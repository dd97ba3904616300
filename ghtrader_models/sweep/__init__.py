"""Searches for a family's settings on walk-forward splits: space, trials, a study that resumes, and its report."""
