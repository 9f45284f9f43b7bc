"""Difference pairs: what may change in the pixels, what is told about it, and that nothing else gives it away."""

from __future__ import annotations

import base64
import io
import json
import re
import threading
from collections import Counter
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest
from PIL import Image

from visift.core.dataset import Dataset
from visift.core.errors import DataError, UsageError, VisiftError
from visift.core.rle import decode_rle
from visift.core.seeds import rng
from visift.core.types import Region, Scene
from visift.sources.tabletop import COLOURS, SHAPES, Tabletop
from visift.synth import difference as module
from visift.synth import difference_words as words
from visift.synth.difference import SET_SIZES, neighbours
from visift.synth.difference_edits import EDITS, Edit, canvas_of, donors_of, visible
from visift.synth.editors import diffusion, heal, load_editor, membrane
from visift.synth.frame import synthesise

SOURCE = Tabletop(14, seed=3)
SCENES = list(SOURCE)
NAME = re.compile(rf"(?:small|large) (?:{'|'.join(COLOURS)}) (?:{'|'.join(SHAPES)})")


def canvas(scene):
    return canvas_of(scene, np.array(SOURCE.open(scene)))


def nothing(image, mask, text):
    """An editor that paints what was there."""
    return image.copy()


def wrong_size(image, mask, text):
    return image[1:]


def refuses(image, mask, text):
    raise DataError("cannot")


def vandal(image, mask, text):
    """An editor that paints the whole picture."""
    return 255 - image


def painter(image, mask, text):
    """A usual editor: it empties the hole in the array that it was given."""
    image[mask] = 0
    return image


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    out = tmp_path_factory.mktemp("difference") / "d"
    synthesise("difference", SOURCE, out, per_scene=3)
    return Dataset(out)


@pytest.mark.parametrize("kind", EDITS)
@pytest.mark.parametrize("editor", ["heal", "diffusion", f"{__name__}:vandal"])
def test_an_edit_changes_nothing_outside_its_support(kind, editor):
    made = 0
    for scene in SCENES[:6]:
        ours, gen = canvas(scene), rng(kind, scene.id)
        edit = EDITS[kind](gen, ours, load_editor(editor), donors_of(gen, SCENES[6:9], canvas))
        if edit is None:
            continue
        made += 1
        changed = (edit.image != ours.image).any(axis=2)
        assert not (changed & ~edit.support).any()
        assert changed.any() and edit.support.mean() < 0.5
    assert made >= 4


def test_outside_the_touched_jpeg_blocks_the_files_agree(dataset):
    seen = 0
    for row in dataset:
        for edit in row.meta["edits"]:
            pair = [Image.open(dataset.picture_path(row.images[edit[k]])) for k in ("original", "image")]
            tables = [p.quantization for p in pair]
            assert tables[0] == tables[1] and pair[0].layer == pair[1].layer
            assert all(h == v == 1 for _, h, v, _ in pair[0].layer)  # 4:4:4
            before, after = (np.asarray(p.convert("RGB")) for p in pair)
            blocks = decode_rle(edit["rle"]).reshape(14, 8, 14, 8).any(axis=(1, 3)).repeat(8, 0).repeat(8, 1)
            assert (before[~blocks] == after[~blocks]).all() and (before != after).any()
            seen += 1
    assert seen > 30


def test_answers_name_what_the_record_says(dataset):
    """A reader of the text alone finds the things of the record, in the pictures where they stand."""
    things = {scene.id: {r.name for r in scene.regions} for scene in SCENES}
    for row in dataset:
        lines = row.turns[-1].text.split("\n") if len(row.images) > 2 else [row.turns[-1].text]
        by_line = {e["image"] - 1 if len(row.images) > 2 else 0: e for e in row.meta["edits"]}
        for k, line in enumerate(lines):
            edit = by_line.get(k)
            named = set(NAME.findall(line))
            if edit is None:
                assert not named and re.search("change|differen|same", line), line
                continue
            assert named <= {edit.get("before"), edit.get("after")} and named, line
            assert edit.get("before") is None or edit["before"] in things[row.provenance.scenes[0]]
            back = edit["image"] < edit["original"]
            if edit["edit"] == "modify":
                assert (edit["before"] if back else edit["after"]).split()[1] in line  # the colour that it has now
    kinds = Counter(e["edit"] for row in dataset for e in row.meta["edits"])
    assert min(kinds[k] for k in EDITS) > 4


def test_no_picture_is_the_edited_one_by_its_place(dataset):
    pairs = [r for r in dataset if len(r.images) == 2]
    first = sum(e["image"] == 0 for r in pairs for e in r.meta["edits"])
    assert 0.3 < first / sum(bool(r.meta["edits"]) for r in pairs) < 0.7
    for row in pairs:
        assert (row.images[0].sha256 == row.images[1].sha256) == (not row.meta["edits"])


def test_a_tenth_is_unchanged_and_half_of_those_show_an_edited_picture(tmp_path):
    synthesise("difference", Tabletop(24), tmp_path, per_scene=4, sets=0.0, edits="modify")
    same = [r for r in Dataset(tmp_path) if not r.meta["edits"]]
    assert 3 < len(same) < 20
    originals = {r.images[e["original"]].sha256 for r in Dataset(tmp_path) for e in r.meta["edits"]}
    shown = sum(r.images[0].sha256 not in originals for r in same)
    assert 0 < shown < len(same)


def test_sets_have_three_to_six_pictures_and_a_line_for_each(dataset):
    sets = [r for r in dataset if len(r.images) > 2]
    assert len(sets) > 3
    for row in sets:
        lines = row.turns[-1].text.split("\n")
        assert SET_SIZES[0] <= len(row.images) <= SET_SIZES[1] and len(lines) == len(row.images) - 1
        assert [line.split(":")[0] for line in lines] == [f"Picture {n}" for n in range(2, len(row.images) + 1)]
        assert not any("second" in line for line in lines)


def test_bytes_depend_on_the_seed_alone(tmp_path):
    cards = [synthesise("difference", SOURCE, tmp_path / name, limit=4, seed=seed) for name, seed in
             (("a", 1), ("b", 1), ("c", 2))]  # fmt: skip
    assert cards[0]["content_sha256"] == cards[1]["content_sha256"] != cards[2]["content_sha256"]


def test_canvases_are_kept_by_bytes_and_change_none(tmp_path, monkeypatch):
    """Down to one at a time: what is made anew is the same."""

    def kept():
        return [c.image.nbytes + sum(t.mask.nbytes for t in c.things) for c in module._CANVASES.values()]

    module._CANVASES.clear()
    cards = [synthesise("difference", SOURCE, tmp_path / "all", limit=4)]
    assert len(kept()) > 3
    size = max(kept())
    for number in (3, 1, 0):
        monkeypatch.setattr(module, "HELD", number * size, raising=False)
        cards.append(synthesise("difference", SOURCE, tmp_path / str(number), limit=4))
        assert len(kept()) == 1 or sum(kept()) <= number * size
    assert len({card["content_sha256"] for card in cards}) == 1


@pytest.mark.integration
def test_workers_change_no_byte(tmp_path):
    one = synthesise("difference", SOURCE, tmp_path / "one")
    two = synthesise("difference", SOURCE, tmp_path / "two", workers=2)
    assert one["content_sha256"] == two["content_sha256"]


def test_what_nobody_could_see_is_rejected_with_the_threshold(tmp_path):
    with pytest.raises(VisiftError, match="nothing could be made, the first because: nobody could see the edit"):
        synthesise(
            "difference", Tabletop(4), tmp_path, edits="delete", editor=f"{__name__}:nothing", unchanged=0.0, sets=0.0
        )
    rejected = [json.loads(line) for line in (tmp_path / "rejected.jsonl").read_text().splitlines()]
    assert any("0 pixels at 336 px differ by 24 or more, 64 are needed" in r["reason"] for r in rejected)


def test_visible_counts_pixels_as_the_model_sees_them():
    before = np.full((672, 672, 3), 100, np.uint8)
    after = before.copy()
    after[:16, :16] = 124  # 256 pixels, 64 at half the size
    assert visible(before, after) == ""
    after[0, 0] = 100
    assert "63 pixels" in visible(before, after) or "64 pixels" in visible(before, after)
    after[:16, :16] = 123
    assert "0 pixels" in visible(before, after)


def test_a_film_is_flat_between_flat_rims_and_straight_between_two():
    values = np.zeros((16, 40, 1), np.float32)
    values[:] = np.linspace(0, 39, 40)[None, :, None]
    known = np.ones((16, 40), bool)
    known[:, 10:30] = False
    torn = np.where(known[..., None], values, 777)
    assert np.abs(membrane(torn, known, rounds=400) - values).max() < 2
    assert (membrane(np.full((5, 7, 3), 9, np.float32), known[:5, 8:15]) == 9).all()


@pytest.mark.parametrize("fill", [heal, diffusion])
def test_a_fill_finds_the_plain_ground_again(fill):
    picture = np.full((80, 90, 3), (90, 120, 60), np.uint8)
    mask = np.zeros((80, 90), bool)
    mask[30:50, 20:45] = True
    spoilt = picture.copy()
    spoilt[mask] = 255
    assert np.abs(fill(spoilt, mask).astype(int) - picture).max() <= 1


def test_an_editor_must_return_the_picture():
    ours, gen = canvas(SCENES[0]), rng(0)
    with pytest.raises(DataError, match="the editor returned uint8"):
        EDITS["delete"](gen, ours, load_editor(f"{__name__}:wrong_size"), donors_of(gen, [], canvas))


@pytest.mark.parametrize("name", ["nonsense", "os:nothing_there", "no.such.module:f", "migan:nowhere.onnx"])
def test_unknown_editors_are_named(name):
    with pytest.raises(UsageError):
        load_editor(name)


def test_an_editor_over_http():
    """It sees picture, mask and text; a reply that is no picture is an error."""
    asked = []

    class Server(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append(body)
            image = Image.open(io.BytesIO(base64.b64decode(body["image"])))
            buffer = io.BytesIO()
            Image.eval(image, lambda v: 255 - v).save(buffer, "PNG")
            reply = {"image": base64.b64encode(buffer.getvalue()).decode()} if len(asked) == 1 else {"no": 1}
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(reply).encode())

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        editor = load_editor(f"http://127.0.0.1:{server.server_port}/edit")
        ours, gen = canvas(SCENES[0]), rng(0)
        edit = EDITS["modify"](gen, ours, editor, donors_of(gen, [], canvas))
        assert edit and edit.adjective in asked[0]["text"]
        assert (edit.image != ours.image).any() and not ((edit.image != ours.image).any(2) & ~edit.support).any()
        with pytest.raises(VisiftError, match="gave no picture"):
            EDITS["modify"](gen, ours, editor, donors_of(gen, [], canvas))
    finally:
        server.shutdown()


def test_wordings():
    dog, two = Region("1", "dog", (0, 0, 9, 9)), Region("2", "dog", (60, 60, 9, 9))
    skis = Region("3", "skis", (40, 0, 9, 9))
    scene = Scene("x:1", "", "1.png", 90, 90, regions=(dog, two, skis))
    gone = Edit("delete", np.zeros(1), np.zeros(1), dog, None)
    made = {words.difference(rng(k), gone, scene, back=False) for k in range(60)}
    assert len(made) == len(words.GONE) >= 8 and "The dog at the top left is gone." in made
    new = {words.difference(rng(k), gone, scene, back=True) for k in range(60)}
    assert len(new) == len(words.NEW) >= 8 and "A dog at the top left has appeared." in new
    many = {words.difference(rng(k), replace(gone, before=skis), scene, back=False) for k in range(60)}
    assert "The skis are gone." in many and not any(" is " in m or " has " in m for m in many)
    swap = Edit("swap", np.zeros(1), np.zeros(1), two, replace(skis, category="owl"))
    assert "The dog at the bottom right has become an owl." in {
        words.difference(rng(k), swap, scene, back=False) for k in range(60)
    }
    assert words.definite(replace(dog, id="9"), scene) == "one of the dogs at the top left"
    for pool in (words.GONE, words.NEW, words.BECAME, words.TURNED, words.NO_LONGER, words.SAME, words.SETS):
        assert len(set(pool)) >= 8
    assert not any("second" in w for pool in (words.GONE, words.NEW, words.BECAME, words.TURNED, words.SAME)
                   for w in pool[: words.SHORT])  # fmt: skip


def test_every_scene_borrows_from_its_block_and_faults_are_reported_once():
    scenes = [Scene(f"x:{k}", "", f"{k}.png", 9, 9, faults=(("a", "bad"),)) for k in range(19)]
    items = list(neighbours(scenes))
    assert [item[0] for item in items] == scenes
    assert sorted({len(item) for item in items}) == [3, 8]
    assert sum(len(s.faults) for item in items for s in item) == len(scenes)


def test_a_scene_without_regions_is_rejected_by_name(tmp_path):
    from visift.sources.folder import FolderSource

    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    with pytest.raises(VisiftError, match=r"a\.png.*no region is fit for an edit"):
        synthesise("difference", FolderSource(tmp_path), tmp_path / "out")


def test_unknown_edits_are_named(tmp_path):
    with pytest.raises(UsageError, match="'explode' is not one of modify"):
        synthesise("difference", SOURCE, tmp_path, edits="modify,explode")


def test_a_fill_copies_no_thing_and_smears_none():
    """Two alike things on noisy ground: the second is no background for the first; where nothing fits, nothing is made."""
    gen = rng(7)
    picture = gen.integers(60, 200, size=(90, 120, 3)).astype(np.uint8)
    first, second = np.zeros((2, 90, 120), bool)
    first[40:60, 10:40] = second[40:60, 60:90] = True
    picture[first | second] = (200, 30, 30)
    healed = heal(picture, first, "", first | second)
    assert np.abs(healed[first].astype(int) - (200, 30, 30)).mean() > 40  # ground, not the other red thing
    with pytest.raises(DataError, match="no part of the picture fits"):
        heal(picture, first, "", np.ones_like(first))
    flat = np.full_like(picture, 128)
    assert (heal(flat, first, "", np.ones_like(first)) == 128).all()  # plain ground may be run into


def test_an_edit_that_the_editor_cannot_do_is_another_edit_s_turn(tmp_path):
    with pytest.raises(VisiftError, match="cannot"):
        synthesise("difference", Tabletop(3), tmp_path, edits="delete", editor=f"{__name__}:refuses", sets=0.0, unchanged=0.0)  # fmt: skip


def test_added_things_stand_about_as_high_as_in_their_own_picture():
    thing = Region("t", "dog", (40, 70, 20, 20))
    lender = Scene("x:2", "", "2.png", 100, 100, regions=(thing,))
    for taken, found in (((0, 0, 100, 20), True), ((0, 20, 100, 80), False)):  # free ground below, or at the top alone
        scene = Scene("x:1", "", "1.png", 100, 100, regions=(Region("r", "bus", taken, crowd=True),))
        ours, theirs = (canvas_of(s, np.full((100, 100, 3), 90, np.uint8)) for s in (scene, lender))
        edit = EDITS["add"](rng(0), ours, load_editor("heal"), lambda fits, theirs=theirs: (theirs, theirs.things[0]))
        assert (edit is not None) == found
        if edit and edit.after:
            assert abs(edit.after.box[1] + 20 - 90) < 25


class Licensed(Tabletop):
    """Every second picture is under NC."""

    def scene(self, index):
        return replace(super().scene(index), licence="CC BY-NC 2.0" if index % 2 else "CC0-1.0")


def test_a_row_names_the_scenes_whose_pixels_it_holds(tmp_path):
    card = synthesise(
        "difference", Licensed(12), tmp_path / "all", edits="swap,add", sets=0.3, unchanged=0.3, per_scene=3
    )
    rows = list(Dataset(tmp_path / "all"))
    lent = [row for row in rows if len(row.provenance.scenes) > 1]
    edited = [row for row in rows if row.meta["edits"]]
    assert len(edited) > 15 and all(row in lent for row in edited)
    assert any(not row.meta["edits"] for row in lent)  # nothing changed between two pictures that were edited alike
    assert (
        any(set(row.provenance.licences) == {"CC BY-NC 2.0", "CC0-1.0"} for row in lent) and len(card["licences"]) == 2
    )
    card = synthesise("difference", Licensed(12), tmp_path / "sold", edits="swap,add", drop_noncommercial=True)
    assert card["licences"] == ["CC0-1.0"] and len(list(Dataset(tmp_path / "sold"))) >= 9


def test_what_was_swapped_in_stands_where_it_was_pasted():
    """A thing from the bottom right of its own picture, pasted at the top left: its record says top left."""
    ours, theirs = (
        Scene(f"x:{k}", "", f"{k}.png", 100, 100, regions=(Region("r", name, box),))
        for k, (name, box) in enumerate([("dog", (10, 10, 20, 20)), ("bus", (60, 65, 22, 22))])
    )
    a, b = (canvas_of(s, np.full((100, 100, 3), 90 + k, np.uint8)) for k, s in enumerate((ours, theirs)))
    edit = EDITS["swap"](rng(0), a, load_editor("heal"), lambda fits: (b, b.things[0]))
    x, y, width, height = edit.after.box
    assert (x, y + height, width, height) == pytest.approx((9, 30, 22, 22), abs=1) and edit.lender is theirs


def test_an_editor_may_paint_over_what_it_is_given(tmp_path):
    synthesise("difference", SOURCE, tmp_path, edits="delete", editor=f"{__name__}:painter", sets=0.0, unchanged=0.0)
    found = Dataset(tmp_path)
    for row in found:
        original = np.array(Image.open(found.picture_path(row.images[row.meta["edits"][0]["original"]])), int)
        drawn = np.array(SOURCE.open(next(s for s in SCENES if s.id == row.provenance.scenes[0])), int)
        assert np.abs(original - drawn).mean() < 6  # JPEG


@pytest.mark.parametrize(
    ("option", "value"),
    [("edits", ["modify"]), ("sets", "some"), ("sets", -1.0), ("unchanged", 2.0), ("per_scene", "2"), ("per_scene", 0)],
)
def test_options_of_another_type_or_range_are_named(option, value, tmp_path):
    with pytest.raises(UsageError, match=option):
        synthesise("difference", Tabletop(2), tmp_path / "d", **{option: value})
    assert not (tmp_path / "d" / "dataset.json").exists()


def test_a_torn_model_of_migan_is_named(tmp_path):
    pytest.importorskip("onnxruntime", reason="the extra visift[onnx] is not installed")
    (tmp_path / "torn.onnx").write_bytes(b"torn")
    with pytest.raises(DataError, match=r"torn\.onnx"):
        load_editor(f"migan:{tmp_path / 'torn.onnx'}")
