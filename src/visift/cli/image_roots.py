"""`--image-root`, `--images` of `answer`: DIR for foreign files, NAME=DIR (repeatable) for datasets of ours."""

from __future__ import annotations

from pathlib import Path

from visift.core.errors import UsageError

OPTION = "--image-root"


def foreign_root(values: list[str] | None, option: str = OPTION) -> Path | None:
    """The one value without a name. Raises UsageError when there are several, or when it is no folder."""
    plain = [v for v in values or [] if "=" not in v]
    if len(plain) > 1:
        raise UsageError(f"{option} is given {len(plain)} times without a name", remedy="give NAME=DIR, or one DIR")
    return _folder(plain[0], option) if plain else None


def image_roots(values: list[str] | None, option: str) -> tuple[Path | None, dict[str, str]]:
    """The value without a name, and the named ones."""
    return foreign_root(values, option), named_roots(values, option)


def named_roots(values: list[str] | None, option: str = OPTION) -> dict[str, str]:
    """NAME -> absolute folder. Raises UsageError when one is no folder."""
    pairs = [v.partition("=") for v in values or [] if "=" in v]
    return {name: str(_folder(folder, option).resolve()) for name, _, folder in pairs}


def _folder(value: str, option: str) -> Path:
    if not Path(value).is_dir():
        raise UsageError("is no folder", where=f"{option} {value}", remedy="check the path")
    return Path(value)
