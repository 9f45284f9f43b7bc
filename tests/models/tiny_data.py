"""Small datasets of random pictures with answers, for training and answering tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from visift.core.dataset import Made, build
from visift.core.types import Conversation, Picture, Provenance, Turn, assistant, user

WORDS = ("red", "blue", "green", "large", "small", "circle", "square", "star")


def dataset(out: Path, rows: int = 8, *, mixed: bool = False, kind: str = "tiny") -> Path:
    """One picture and one to three lines to list a row; `mixed` adds rows with two pictures, with none, and two rounds."""
    (out / "images").mkdir(parents=True, exist_ok=True)

    def picture(name: str, seed: int) -> Picture:
        pixels = np.random.default_rng(seed).integers(0, 255, (3, 3, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((40, 28), Image.Resampling.NEAREST).save(out / "images" / f"{name}.png")
        return Picture(f"images/{name}.png", width=40, height=28)

    def make(i: int) -> Made:
        random = np.random.default_rng(1000 + i)
        lines = [f"{k + 1}. {' '.join(random.choice(WORDS, 2))}" for k in range(1 + i % 3)]
        turns: tuple[Turn, ...] = (user(0, "List the objects."), assistant("\n".join(lines)))
        pictures: tuple[Picture, ...] = (picture(f"{i}", i),)
        if mixed and i % 4 == 1:
            pictures += (picture(f"{i}b", 100 + i),)
            turns = (user("First ", 0, " then ", 1, " what?"), assistant(lines[0]))
        elif mixed and i % 4 == 2:
            pictures, turns = (), (user(f"Say {i}."), assistant(f"{i}"))
        elif mixed and i % 4 == 3:
            turns = (*turns, user("And now?"), assistant("no", train=False), user("Sure?"), assistant("yes"))
        return Made([Conversation(f"{kind}-{i}", pictures, turns, Provenance(kind))])

    build(out, kind=kind, items=range(rows), make=make, settings={"rows": rows, "mixed": mixed})
    return out
