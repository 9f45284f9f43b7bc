"""Multi-round dialogue about one picture that keeps switching its response form (papers.md C.1)."""

from visift.synth.dialog.make import KIND

__all__ = ["KIND"]
