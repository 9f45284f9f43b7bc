"""Templates to one HTML file."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

import visift
from visift.core.files import write_atomic
from visift.report.plots import SHAPES, number

LONGEST = 700  # characters shown of a text that a model wrote


@lru_cache(maxsize=1)
def environment() -> Environment:
    """Everything is escaped, whatever the template's name; an unknown name is an error."""
    env = Environment(
        loader=PackageLoader("visift.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters |= {"number": number, "pretty": pretty, "shortened": shortened, "clock": clock, "one_line": one_line}
    env.globals |= {"SHAPES": SHAPES, "version": visift.__version__}
    return env


def write_page(out: Path, template: str, **context: Any) -> Path:
    """Render a template to `out`, whole or not at all."""
    write_atomic(out, environment().get_template(template).render(**context))
    return out


def pretty(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True)


def one_line(value: Any) -> str:
    """Settings as `mode=generate, max_new_tokens=128`; several sets of them as JSON."""
    if isinstance(value, dict):
        return ", ".join(f"{k}={v}" for k, v in value.items())
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)


def shortened(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} … ({len(text):,} characters)"


def clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"
