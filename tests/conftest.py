"""What holds for every test: one thread, no hub, and a stated reason for whatever is skipped."""

from __future__ import annotations

import os

# Read when torch and the hub client load, so they are set before any test module is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import re
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
UNIT = "not integration"  # -m of the unit tier
ALL_INTEGRATION = re.compile(r"^pytestmark = (\[\s*)?pytest\.mark\.integration", re.M)


def pytest_configure(config: pytest.Config) -> None:
    """The long counts run only when they are asked for (`make stress`)."""
    chosen = config.option.markexpr
    if "stress" not in chosen:
        config.option.markexpr = f"({chosen}) and not stress" if chosen else "not stress"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """The unit tier does not even import a file that has no test for it: torch takes ten seconds to load."""
    if UNIT not in config.option.markexpr or collection_path.suffix != ".py":
        return None
    return True if ALL_INTEGRATION.search(collection_path.read_text(encoding="utf-8")) else None


def pytest_runtest_teardown(item: pytest.Item) -> None:
    if UNIT in item.config.option.markexpr and "torch" in sys.modules:
        pytest.fail("the unit tier loads no torch: mark what does as integration")


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _is_slow(item):
            item.add_marker(pytest.mark.integration)
    # Files with integration tests first: a long one begun last would run alone, on one core.
    long = {item.path for item in items if item.get_closest_marker("integration")}
    items.sort(key=lambda item: item.path not in long)
    reasons = {name: reason for name, missing in _needs().items() if (reason := missing)}
    for item in items:
        for name, reason in reasons.items():
            if item.get_closest_marker(name):
                item.add_marker(pytest.mark.skip(reason=reason))


def _is_slow(item: pytest.Item) -> bool:
    """Looks at photographs or pages, or loads weights."""
    return any(item.get_closest_marker(name) for name in ("data", "weights", "browser"))


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
