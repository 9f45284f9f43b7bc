"""The dataset card: README.md beside dataset.json, for people and for the Hugging Face hub, with a few rows to look at."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from visift.core.dataset import Dataset
from visift.core.errors import DataError
from visift.core.files import read_json, read_jsonl, write_atomic
from visift.core.seeds import seed_of
from visift.core.types import Conversation

SAMPLES = 6
SIDE = 320  # pixels, longest side of a sample
SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
)


@dataclass(slots=True)
class Tally:
    """What one pass over the conversations counts."""

    kinds: Counter[str] = field(default_factory=Counter)
    forms: Counter[str] = field(default_factory=Counter)
    rounds: Counter[int] = field(default_factory=Counter)
    pictures: Counter[int] = field(default_factory=Counter)
    switches: int = 0  # neighbouring answers of different form
    neighbours: int = 0  # neighbouring answers whose forms are both known
    samples: list[tuple[int, str]] = field(default_factory=list)  # (draw, id): the smallest draws are shown

    def add(self, row: Mapping[str, Any]) -> None:
        answers = [t for t in row["turns"] if t["role"] == "assistant"]
        forms = [t.get("form", "") for t in answers]
        self.kinds[row.get("provenance", {}).get("kind", "")] += 1
        self.forms.update(f for f in forms if f)
        self.rounds[len(answers)] += 1
        self.pictures[len(row.get("images", []))] += 1
        pairs = [(a, b) for a, b in pairwise(forms) if a and b]
        self.neighbours += len(pairs)
        self.switches += sum(a != b for a, b in pairs)
        if row.get("images"):
            self.samples.append((seed_of("card", row["id"]), row["id"]))
            if len(self.samples) > 4 * SAMPLES:
                self.samples = sorted(self.samples)[:SAMPLES]


def ensure_card(path: Path) -> Path:
    """The page, written where it is not there yet: a kill can fall between dataset.json and what follows it."""
    page = path / "README.md"
    return page if page.exists() else write_card(path)


def write_card(path: Path, roots: Mapping[str, str] | None = None) -> Path:
    """Write README.md (and card/*.jpg) for the dataset at `path` and return its path. Same dataset, same page.

    Raises DataError when `path` holds no finished dataset. A sample whose picture cannot be opened is shown without it.
    """
    data = Dataset(path, roots)
    tally = Tally()
    for row in _rows(data):
        tally.add(row)
    chosen = {id for _, id in sorted(tally.samples)[:SAMPLES]}
    samples = [Conversation.from_json(row) for row in _rows(data) if row["id"] in chosen] if chosen else []
    reasons = Counter((row["stage"], _general(row["reason"])) for _, row in read_jsonl(data.path / "rejected.jsonl"))
    shown = "\n\n".join(_sample(data, c, n) for n, c in enumerate(samples[:SAMPLES], 1))
    write_atomic(data.path / "README.md", _page(read_json(data.path / "dataset.json"), tally, reasons, shown))
    return data.path / "README.md"


def _rows(data: Dataset) -> Iterator[dict[str, Any]]:
    for part in sorted(data.path.glob("conversations/*.jsonl")):
        yield from (row for _, row in read_jsonl(part))


def _general(reason: str) -> str:
    """A reason without its particulars, so that equal ones are counted together."""
    return re.sub(r"\d+", "#", reason.rpartition(": ")[2] if len(reason) > 160 else reason)[:160]


def _page(card: Mapping[str, Any], t: Tally, reasons: Counter[tuple[str, str]], samples: str) -> str:
    settings, counts = card["settings"], card["counts"]
    size = next((name for limit, name in SIZES if counts["conversations"] < limit), "n>10M")
    head = [
        "---",
        "task_categories: [image-text-to-text, visual-question-answering]",
        "language: [en]",
        f"size_categories: [{size}]",
        "---",
    ]
    lines = [
        *head, "", f"# {card['kind']}: {counts['conversations']:,} conversations", "",
        _table(("", ""), [(name, f"{n:,}") for name, n in counts.items()]),
        f"Made by visift {card['visift']} with seed {card['seed']}. Content sha256 `{card['content_sha256']}`, "
        f"settings sha256 `{card['config_sha256']}`.", "",
        "## Sources and licences", "",
        *[f"- {_line(s)}" for s in card["sources"]], "",
        f"Licences of the pictures and texts: {', '.join(card['licences']) or 'none stated by the sources'}. "
        f"Texts by: {', '.join(card['teacher']) or 'the sources'}.", "",
    ]  # fmt: skip
    if ratios := settings.get("ratios"):
        rows = [(r["name"], f"{r['weight']:g}", *(f"{r[k]:,}" for k in RATIO), f"{r['share']:.1%}") for r in ratios]
        lines += ["## Mixture", "", _table(("source", "weight", *RATIO, "share"), rows)]
    if "decontaminated" in settings:
        lines += ["## Decontamination", "", _decontaminated(settings["decontaminated"]), ""]
    if t.forms:
        rows = [(form, f"{n:,}", f"{n / t.forms.total():.1%}") for form, n in t.forms.most_common()]
        lines += ["## Response forms", "", _table(("form", "answers", "share"), rows)]
        if t.neighbours:
            lines += [
                f"Neighbouring answers switch form in {t.switches / t.neighbours:.1%} of {t.neighbours:,} cases.",
                "",
            ]
    lines += ["## Shape", "", _counter("kind", t.kinds), _counter("rounds", t.rounds), _counter("pictures", t.pictures)]
    rows = [(stage, reason, f"{n:,}") for (stage, reason), n in reasons.most_common(20)]
    lines += ["## Left out", "", _table(("stage", "reason", "rows"), rows) if rows else "Nothing.\n"]
    if samples:
        lines += ["## Samples", "", samples, ""]
    return "\n".join(lines)


RATIO = ("read", "leaked", "rejected", "kept", "taken")


def _decontaminated(settings: Mapping[str, Any]) -> str:
    if not settings["on"]:
        return "Switched off: evaluation pictures may be among these."
    if not settings["sets"]:
        return "No evaluation set was given, so nothing could be left out."
    sets = "; ".join(f"{s['name']} ({s['coco_ids']:,} COCO ids, {s['pictures']:,} pictures)" for s in settings["sets"])
    return f"Left out by COCO id and by perceptual hash, against: {sets}."


def _counter(name: str, counter: Counter[Any]) -> str:
    return _table((name, "conversations"), [(str(k), f"{n:,}") for k, n in sorted(counter.items())])


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return "\n".join([*lines, *(f"| {' | '.join(_line(c) for c in row)} |" for row in rows)]) + "\n"


def _line(value: Any) -> str:
    """Anything as one line that cannot break out of a table or become markup."""
    text = ", ".join(f"{k}: {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)
    return " ".join(text.replace("|", "\\|").replace("<", "&lt;").split())


def _sample(data: Dataset, c: Conversation, number: int) -> str:
    import io

    from PIL import Image

    from visift.sources.pictures import open_rgb

    lines = [f"**{_line(c.id)}**", ""]
    for k, picture in enumerate(c.images[:4]):
        name = f"card/{number}-{k}.jpg"
        try:
            image = open_rgb(data.picture_path(picture), (picture.width, picture.height))
        except DataError as e:
            lines.append(f"(picture {k} is not shown: {_line(e.what)})")
            continue
        image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=85)
        write_atomic(data.path / name, buffer.getvalue())
        lines.append(f"![picture {k}]({name})")
    for turn in c.turns[:4]:
        text = "".join(f"[picture {p.image}]" if p.text is None else p.text for p in turn.parts)
        lines.append(f"\n> **{turn.role}**{f' ({_line(turn.form)})' if turn.form else ''}: {_line(text)[:400]}")
    if len(c.turns) > 4:
        lines.append(f"\n> … {len(c.turns) - 4} more turns")
    return "\n".join(lines)
