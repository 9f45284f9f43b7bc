"""Colour of a named thing on our own questions: exact word."""

from __future__ import annotations

from visift.evals import exact_match

TASK = exact_match.task("colour")
