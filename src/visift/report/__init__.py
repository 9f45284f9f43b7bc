"""Pages people look at: one static HTML file, everything inlined. Shows files; computes nothing of its own."""

from visift.report.run_page import write_report
from visift.report.score_page import write_score_report

__all__ = ["write_report", "write_score_report"]
