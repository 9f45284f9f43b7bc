"""What holds for every test: one thread, no hub, and a stated reason for whatever is skipped."""

from __future__ import annotations

import os

# Read when torch and the hub client load, so they are set before any test module is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import shutil
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# tiny_vlm: the random VLM that several rooms train; faulty_server: the chat server that several rooms ask
sys.path[:0] = [str(Path(__file__).parent / room) for room in ("models", "remote")]

# The same examples on every run: a red CI can be repeated. New ones come with a changed test.
settings.register_profile(
    "visift", max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("visift")

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def pytest_configure(config: pytest.Config) -> None:
    """The long counts run only when they are asked for (`make stress`)."""
    chosen = config.option.markexpr
    if "stress" not in chosen:
        config.option.markexpr = f"({chosen}) and not stress" if chosen else "not stress"


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, pytest.Function) and _is_slow(item):
            item.add_marker(pytest.mark.integration)
    # Files with integration tests first: a long one begun last would run alone, on one core.
    long = {item.path for item in items if item.get_closest_marker("integration")}
    items.sort(key=lambda item: item.path not in long)
    reasons = {name: reason for name, missing in _needs().items() if (reason := missing)}
    for item in items:
        for name, reason in reasons.items():
            if item.get_closest_marker(name):
                item.add_marker(pytest.mark.skip(reason=reason))


def _is_slow(item: pytest.Function) -> bool:
    """Runs a random model of the Hugging Face classes or the built-in one, asks a server, or looks at photographs or pages."""
    used = {"tiny_vlm", "tiny_families", "fresh_model", "serving"} & vars(item.module).keys()
    return bool(used) or any(item.get_closest_marker(name) for name in ("data", "weights", "browser"))


def _needs() -> dict[str, str]:
    """Marker -> why its tests cannot run here; empty when they can."""
    return {
        "data": _folder("VISIFT_DATA"),
        "weights": _folder("VISIFT_WEIGHTS"),
        "browser": "" if any(map(shutil.which, BROWSERS)) else f"none of {', '.join(BROWSERS)} is installed",
        "gpu": "" if shutil.which("nvidia-smi") else "no CUDA device (nvidia-smi is not there)",
    }


def _folder(variable: str) -> str:
    value = os.environ.get(variable)
    if not value:
        return f"{variable} is not set"
    return "" if Path(value).is_dir() else f"{variable}={value} is no folder"


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real data. Tests that use it carry `@pytest.mark.data`."""
    return Path(os.environ["VISIFT_DATA"])


@pytest.fixture(scope="session")
def weights() -> Path:
    """The folder of real weights. Tests that use it carry `@pytest.mark.weights`."""
    return Path(os.environ["VISIFT_WEIGHTS"])
