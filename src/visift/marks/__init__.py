"""Numbers on things: masks -> disjoint regions -> a place and a number for each -> pixels and a manifest."""

from visift.marks.layout import Layout, lay_out
from visift.marks.partition import LeftOut
from visift.marks.tag import tag

__all__ = ["Layout", "LeftOut", "lay_out", "tag"]
