"""Answers first, scores after: tasks, parsers, metrics with the interval made for each, paired comparisons."""
