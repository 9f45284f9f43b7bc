"""Random numbers keyed by what they are for, so that order, workers and restarts cannot change them."""

from __future__ import annotations

import hashlib

import numpy as np


def seed_of(*keys: object) -> int:
    """A 64-bit seed from any printable keys: `seed_of(0, "number", scene.id)`."""
    text = "\x1f".join(str(k) for k in keys)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")


def rng(*keys: object) -> np.random.Generator:
    """A generator whose stream depends on `keys` alone."""
    return np.random.default_rng(seed_of(*keys))
