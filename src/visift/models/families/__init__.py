"""One small adapter for each family of Hugging Face VLMs, found by the configuration's `model_type`."""

from __future__ import annotations

from visift.core.errors import DataError
from visift.models.families.family import Family

FAMILIES: dict[str, type[Family]] = {"llava": Family}


def family_for(model_type: str, where: object) -> type[Family]:
    """Raises DataError naming the supported families."""
    if model_type not in FAMILIES:
        raise DataError(
            f"model type {model_type!r} is not supported",
            where=where,
            remedy=f"supported: {', '.join(sorted(FAMILIES))}",
        )
    return FAMILIES[model_type]
