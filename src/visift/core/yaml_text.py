"""YAML as recipes are written in, by libyaml where PyYAML was built with it: ten times as fast as Python's own."""

from __future__ import annotations

from typing import Any

import yaml

from visift.core.errors import UsageError

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def parse_yaml(text: str) -> Any:
    """The value. Raises yaml.YAMLError for what is no YAML, ValueError for a date that is none."""
    return yaml.load(text, _LOADER)


def override(assignment: str) -> tuple[str, Any]:
    """ "train.steps=100" -> ("train.steps", 100). Raises UsageError."""
    key, equals, text = assignment.partition("=")
    if not equals or not key:
        raise UsageError(f"{assignment!r} is not key=value", remedy="for example steps=100")
    try:
        return key, parse_yaml(text)
    except (yaml.YAMLError, ValueError) as e:
        raise UsageError(f"{assignment!r}: {text!r} is not a YAML value", remedy="quote it if it is text") from e
