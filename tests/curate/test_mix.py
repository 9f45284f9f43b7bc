"""A mixture holds what the recipe says: counts add up, every picture is there, nothing leaks, the same seed gives the same bytes."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_decontaminate import photograph
from typer import Typer
from typer.testing import CliRunner

from visift.cli.mix import mix as command
from visift.core.dataset import Dataset, Made, build
from visift.core.errors import DataError, UsageError, VisiftError
from visift.core.files import sha256_file
from visift.core.rle import encode_rle
from visift.core.types import Conversation, Mark, Picture, Provenance, TaggedPicture, assistant, user
from visift.curate.check import check
from visift.curate.mix import _ratios, mix
from visift.curate.mix_recipe import MixRecipe, MixSource
from visift.formats.convert import convert


def llava_row(name: str, image: str | None, answer: str = "x") -> dict[str, Any]:
    text = "<image>\nWhat?" if image else "Hi"
    row = {"id": name, "conversations": [{"from": "human", "value": text}, {"from": "gpt", "value": answer}]}
    return row | ({"image": image} if image else {})


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """llava.json (20 rows over 5 pictures, 5 text rows), a tagged dataset of ours (6 rows), an evaluation folder."""
    (tmp_path / "pictures").mkdir()
    for k in range(5):
        photograph(k, (160, 120)).save(tmp_path / f"pictures/{k}.png")
    rows = [llava_row(f"r{k}", f"{k % 5}.png") for k in range(20)] + [llava_row(f"t{k}", None) for k in range(5)]
    (tmp_path / "llava.json").write_text(json.dumps(rows))
    (tmp_path / "eval").mkdir()
    photograph(3).resize((200, 150)).save(tmp_path / "eval/secret.jpg")
    _ours(tmp_path / "ours", tmp_path / "pictures")
    return tmp_path


def _ours(out: Path, pictures: Path) -> None:
    import numpy as np

    def make(k: int) -> Made:
        path = out / f"images/{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        photograph(10 + k, (64, 48)).save(path)
        mark = Mark(1, "r", "thing", (3, 3), (0, 0, 64, 48), (3, 3, 1, 1), 64 * 48, encode_rle(np.ones((48, 64), bool)))
        tagged = TaggedPicture(f"images/{k}.png", sha256_file(path), f"coco:{k}", "x", 64, 48, "default", (mark,))
        images = (Picture(f"images/{k}.png", sha256_file(path), 64, 48), Picture("plain:4.png"))
        licence = "CC BY-NC 2.0" if k == 5 else "CC BY 2.0"
        provenance = Provenance("listing", (f"coco:{k}",), (licence,), 0, "listing/01", "rules")
        return Made(
            [Conversation(f"c{k}", images, (user(0, 1, "List."), assistant("1. thing", "list")), provenance)], [tagged]
        )

    build(out, kind="listing", items=range(6), make=make, settings={"seed": 0}, roots={"plain": str(pictures)})


def recipe(place: Path, **changes: Any) -> Path:
    sources = [
        {"name": "llava", "path": "llava.json", "image_root": "pictures", "weight": 1},
        {"name": "ours", "path": "ours", "weight": 2},
    ]
    path = place / f"mix-{len(list(place.glob('mix-*')))}.yaml"
    path.write_text(json.dumps({"sources": sources, "seed": 1, **changes}))  # JSON is YAML
    return path


def test_counts_in_are_counts_out_and_every_picture_is_there(place: Path) -> None:
    card = mix(recipe(place, evaluation=["eval"]), place / "out")
    llava, ours = card["settings"]["ratios"]
    assert (llava["read"], llava["leaked"], llava["rejected"], llava["kept"], llava["taken"]) == (25, 4, 0, 21, 21)
    assert (ours["read"], ours["leaked"], ours["kept"], ours["taken"]) == (6, 0, 6, 12)
    data = Dataset(place / "out")
    rows = list(data)
    assert len(rows) == card["counts"]["conversations"] == 33
    assert Counter(c.id.partition("/")[0] for c in rows) == {"llava": 21, "ours": 12}
    assert len({c.id for c in rows}) == 33  # the second use of a row has its own id
    for c in rows:
        assert all(data.picture_path(p).is_file() for p in c.images)
    rejected = [json.loads(line) for line in (place / "out/rejected.jsonl").read_text().splitlines()]
    assert [r["id"] for r in rejected] == ["llava/r3", "llava/r8", "llava/r13", "llava/r18"]
    assert all("secret.jpg" in r["reason"] and r["stage"] == "decontaminate" for r in rejected)
    assert len(list(data.tagged())) == 6
    assert {t.image for t in data.tagged()} == {c.images[0].path for c in rows if c.id.startswith("ours")}


def test_what_a_row_holds_is_not_changed(place: Path) -> None:
    mix(recipe(place), place / "out")
    mixed = {c.id: c for c in Dataset(place / "out")}
    for c in Dataset(place / "ours"):
        for name in (f"ours/{c.id}", f"ours/{c.id}#2"):
            assert (mixed[name].turns, mixed[name].provenance) == (c.turns, c.provenance)
            assert [p.sha256 for p in mixed[name].images] == [p.sha256 for p in c.images]
    assert check(place / "out")["findings"] == []


def test_the_seed_decides_the_order_and_the_draw(place: Path) -> None:
    small = {"size": 10}
    cards = [mix(recipe(place, seed=seed, **small), place / f"out{k}") for k, seed in enumerate([1, 1, 2])]
    assert cards[0]["content_sha256"] == cards[1]["content_sha256"] != cards[2]["content_sha256"]
    ids = [[c.id for c in Dataset(place / f"out{k}")] for k in range(3)]
    assert ids[0] == ids[1] != ids[2] and ids[0] != sorted(ids[0])
    assert sum(i.startswith("ours") for i in ids[0]) == 7  # 10 x 2/3, by largest remainder


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=6), st.integers(1, 10_000))
def test_shares_sum_to_the_size_and_follow_the_weights(weights: list[float], size: int) -> None:
    sources = [MixSource(name=f"s{k}", path=Path("x"), weight=w) for k, w in enumerate(weights)]
    counts = [{"read": 9, "leaked": 0, "rejected": 0, "kept": 9}] * len(weights)
    ratios = _ratios(MixRecipe(sources=sources, size=size), counts)
    assert sum(r["taken"] for r in ratios) == size
    assert all(abs(r["taken"] - size * w / sum(weights)) < 1 for r, w in zip(ratios, weights, strict=True))


def test_rows_are_used_evenly_when_more_are_asked_for_than_there_are(place: Path) -> None:
    mix(
        recipe(place, sources=[{"name": "llava", "path": "llava.json", "image_root": "pictures", "weight": 2.4}]),
        place / "out",
    )
    uses = Counter(c.id.partition("#")[0] for c in Dataset(place / "out"))
    assert sum(uses.values()) == 60 and set(uses.values()) == {2, 3} and len(uses) == 25


def test_formats_that_carry_their_pictures_bring_them_along(place: Path) -> None:
    for to, name in (("parquet", "p.parquet"), ("webdataset", "shards")):
        convert(place / "llava.json", to, place / name, image_root=place / "pictures")
    sources = [{"name": "p", "path": "p.parquet"}, {"name": "w", "path": "shards"}]
    card = mix(recipe(place, sources=sources, evaluation=["eval"]), place / "out")
    assert [r["leaked"] for r in card["settings"]["ratios"]] == [4, 4]
    assert check(place / "out")["errors"] == 0 and card["roots"] == {}


def test_faulty_rows_are_left_out_by_name_until_they_are_too_many(place: Path) -> None:
    rows = [
        llava_row("ok", "0.png"),
        llava_row("gone", "absent.png"),
        llava_row("ok2", "1.png"),
        {"id": "odd", "conversations": 7},
    ]
    (place / "llava.json").write_text(json.dumps(rows))
    card = mix(recipe(place), place / "out")
    assert card["settings"]["ratios"][0]["rejected"] == 2
    rejected = [json.loads(line) for line in (place / "out/rejected.jsonl").read_text().splitlines()]
    assert [(r["id"], r["stage"]) for r in rejected] == [("llava/gone", "mix"), ("llava/row 4", "mix")]
    assert "absent.png" in rejected[0]["reason"]
    with pytest.raises(VisiftError, match=r"2 of 4 rows are faulty.*absent\.png"):
        mix(recipe(place, max_rejected=0.4), place / "out2")


def test_switches(place: Path) -> None:
    card = mix(recipe(place, evaluation=["eval"], decontaminate=False), place / "all")
    assert [r["leaked"] for r in card["settings"]["ratios"]] == [0, 0]
    sources = [
        {"name": "ours", "path": "ours"},
        {"name": "llava", "path": "llava.json", "image_root": "pictures", "licence": "CC BY 4.0"},
    ]
    card = mix(recipe(place, sources=sources, drop_noncommercial=True), place / "free")
    assert [r["rejected"] for r in card["settings"]["ratios"]] == [1, 0]
    assert card["licences"] == ["CC BY 2.0", "CC BY 4.0"]


def test_the_card_page_tells_what_is_in_it(place: Path) -> None:
    mix(recipe(place, evaluation=["eval"]), place / "out")
    page = (place / "out/README.md").read_text()
    for text in (
        "# mix: 33 conversations",
        "| llava | 1 | 25 | 4 |",
        "CC BY 2.0",
        "eval (0 COCO ids, 1 pictures)",
        "| list | 12 | 100.0% |",
    ):
        assert text in page
    assert "looks like the evaluation picture eval/secret.jpg" in page and str(place) not in page
    shown = list((place / "out/card").iterdir())
    assert len(shown) >= 6 and all(f"(card/{p.name})" in page for p in shown)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"wieght": 1}, "wieght"),
        ({"sources": []}, "sources"),
        ({"sources": [{"name": "a", "path": "llava.json"}] * 2}, "two sources are called a"),
        ({"sources": [{"name": "a:b", "path": "llava.json"}]}, "sources.0.name"),
        ({"sources": [{"name": "a", "path": "llava.json", "weight": 0}]}, "weight"),
        ({"size": 0}, "size"),
    ],
)
def test_a_wrong_recipe_is_bad_usage(place: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        mix(recipe(place, **changes), place / "out")


def test_two_roots_of_one_name_are_refused(place: Path) -> None:
    """Ours keeps its root `plain` as `ours.plain`: a foreign source of that name would lend it its pictures, or take them."""
    (place / "other").mkdir()
    for k in range(5):
        photograph(20 + k, (160, 120)).save(place / f"other/{k}.png")
    foreign = {"name": "ours.plain", "path": "llava.json", "image_root": "other"}
    for sources in ([{"name": "ours", "path": "ours"}, foreign], [foreign, {"name": "ours", "path": "ours"}]):
        with pytest.raises(UsageError, match=f"sources {sources[0]['name']} and {sources[1]['name']} both"):
            mix(recipe(place, sources=sources), place / "out")
    assert not (place / "out").exists()
    foreign["image_root"] = "pictures"  # the same folder: the same picture, whichever is meant
    data = mix(recipe(place, sources=[{"name": "ours", "path": "ours"}, foreign]), place / "out")
    assert data["roots"]["ours.plain"] == str(place / "pictures")


def test_sources_may_be_named_like_what_is_kept_of_another(place: Path) -> None:
    sources = [
        {"name": name, "path": "llava.json", "image_root": "pictures"} for name in ("a", "a.out", "a.tagged", "plan")
    ]
    card = mix(recipe(place, sources=sources), place / "out")
    assert (
        card["counts"]["conversations"]
        == 4 * mix(recipe(place, sources=sources[:1]), place / "one")["counts"]["conversations"]
    )


def test_what_cannot_be_read_is_named(place: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        mix(place / "absent.yaml", place / "out")
    for text in ("a: [", "a: 2024-13-45"):
        (place / "bad.yaml").write_text(text)
        with pytest.raises(DataError, match="not valid YAML"):
            mix(place / "bad.yaml", place / "out")
    with pytest.raises(DataError, match="no such file"):
        mix(recipe(place, sources=[{"name": "a", "path": "absent.json"}]), place / "out")
    with pytest.raises(DataError, match="image_root"):
        mix(recipe(place, sources=[{"name": "a", "path": "llava.json", "image_root": "absent"}]), place / "out")
    assert not (place / "out/dataset.json").exists()


def test_another_recipe_is_refused_and_the_same_one_changes_nothing(place: Path) -> None:
    card = mix(recipe(place), place / "out")
    before = (place / "out/README.md").stat().st_mtime_ns
    assert mix(recipe(place), place / "out") == card
    assert (place / "out/README.md").stat().st_mtime_ns == before
    with pytest.raises(UsageError, match="other settings"):
        mix(recipe(place, seed=2), place / "out")
    (place / "llava.json").write_text(json.dumps([llava_row("new", "0.png")]))
    with pytest.raises(UsageError, match="other settings"):
        mix(recipe(place), place / "out")


def test_a_kill_right_after_the_card_leaves_nothing_behind(place: Path) -> None:
    mix(recipe(place), place / "out")
    page = (place / "out/README.md").read_bytes()
    (place / "out/README.md").unlink()
    (place / "out/.build/spool").mkdir(parents=True)
    mix(recipe(place), place / "out")
    assert (place / "out/README.md").read_bytes() == page and not (place / "out/.build").exists()


@pytest.mark.integration
def test_a_killed_mixture_ends_with_the_same_bytes(place: Path) -> None:
    rows = [llava_row(f"r{k}", f"{k % 5}.png", f"answer {k} " + "word " * 50) for k in range(6000)]
    (place / "llava.json").write_text(json.dumps(rows))
    path = recipe(place, evaluation=["eval"])
    whole = mix(path, place / "whole")
    program = f"from pathlib import Path\nfrom visift.curate.mix import mix\nmix(Path({str(path)!r}), Path({str(place / 'killed')!r}))"
    chance, hit = random.Random(5), 0
    for attempt in range(3):
        process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL)
        if attempt < 2:
            while not (place / "killed/.build").exists() and process.poll() is None:
                time.sleep(0.005)
            time.sleep(chance.uniform(0.05, 0.4))
            if process.poll() is None:
                hit += 1
                os.kill(process.pid, signal.SIGKILL)
        code = process.wait(60)
    assert hit and code == 0
    assert Dataset(place / "killed").card["content_sha256"] == whole["content_sha256"]
    for name in ("dataset.json", "README.md"):
        assert (place / "killed" / name).read_bytes() == (place / "whole" / name).read_bytes()
    assert not (place / "killed/.build").exists()


def test_the_command_prints_the_table_or_json_alone(place: Path) -> None:
    app = Typer()
    app.command()(command)
    result = CliRunner().invoke(app, [str(recipe(place)), "--out", str(place / "out"), "--json"])
    assert result.exit_code == 0 and json.loads(result.stdout)["counts"]["conversations"] == 37
    result = CliRunner().invoke(app, [str(recipe(place)), "--out", str(place / "out")])
    assert "37 conversations" in result.stdout and "llava" in result.stdout
