"""What a licence's name says about commercial use."""

from __future__ import annotations

import re

NONCOMMERCIAL = re.compile(r"\bNC\b|non-?commercial", re.IGNORECASE)


def not_for_sale(licences: tuple[str, ...]) -> str:
    """Why something under these licences may not be used commercially, empty where nothing says so. No licence is a reason too."""
    for licence in licences:
        if NONCOMMERCIAL.search(licence):
            return f"{licence} is non-commercial"
    return "" if licences else "no licence is stated"
