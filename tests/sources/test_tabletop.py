"""The built-in world: exact, nameable, endless, and the same when it is read back as COCO."""

from __future__ import annotations

import numpy as np
import pytest

from visift.core.errors import UsageError
from visift.core.rle import decode_rle
from visift.sources.coco import CocoSource
from visift.sources.tabletop import COLOURS, FAVOURITE, OBJECTS, SHAPES, SIDE, Tabletop, caption, in_order, shape_alpha
from visift.sources.tabletop_coco import write_coco


@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_scene_is_drawn_the_same_whenever_it_is_opened(level):
    source = Tabletop(count=3, level=level, start=5)
    for scene in source:
        again = np.asarray(source.open(scene))
        assert np.array_equal(again, np.asarray(source.open(scene)))
        assert again.shape == (SIDE, SIDE, 3)
    assert [s.id for s in source] == [s.id for s in Tabletop(count=3, level=level, start=5)]


def test_splits_and_seeds_never_share_a_scene():
    pictures = {
        (split, seed): {Tabletop(4, seed=seed, split=split).render(k)[1].tobytes() for k in range(4)}
        for split in ("train", "held-out")
        for seed in (0, 1)
    }
    seen = [p for group in pictures.values() for p in group]
    assert len(seen) == len(set(seen)) == 16


@pytest.mark.parametrize("level", [0, 1, 2])
def test_every_object_can_be_named_and_its_mask_is_where_it_is(level):
    source = Tabletop(count=40, level=level)
    low, high = OBJECTS[level]
    for scene in source:
        names = [r.name for r in scene.regions]
        assert low <= len(names) <= high
        assert len(set(names)) == len(names)
        masks = [decode_rle(r.rle(SIDE, SIDE)) for r in scene.regions]
        assert sum(m.astype(int) for m in masks).max() == 1  # visible masks are disjoint
        for region, mask in zip(scene.regions, masks, strict=True):
            x, y, w, h = (int(v) for v in region.box)
            assert mask[y : y + h, x : x + w].sum() == mask.sum() > 60


def test_masks_hold_their_object_s_colour_and_nothing_else_does():
    source = Tabletop(count=60)
    for index in range(60):
        things, picture, masks = source.render(index)
        for thing, mask in zip(things, masks, strict=True):
            inside = picture[mask].astype(float).mean(axis=0)
            nearest = min(COLOURS, key=lambda c: np.abs(inside - COLOURS[c]).sum())
            assert nearest == thing.colour
            alpha = shape_alpha(thing.shape, thing.diameter)
            assert mask.sum() == (alpha > 0.5).sum()  # nothing hides anything on level 0


def test_usual_colours_are_usual_but_not_certain():
    things = [t for k in range(400) for t in Tabletop(400).things(k)]
    share = np.mean([FAVOURITE[t.shape] == t.colour for t in things])
    assert 0.28 < share < 0.42  # 0.25 + 0.75 / 8, were it not for the distinct names
    assert {t.shape for t in things} == set(SHAPES)


def test_the_caption_names_everything_from_left_to_right():
    things = Tabletop(1).things(0)
    text = caption(things)
    positions = [text.index(t.name) for t in in_order(things)]
    assert positions == sorted(positions)
    assert text.count(" a ") + text.startswith("a ") == len(things)


@pytest.mark.parametrize("wrong", [{"count": 0}, {"count": 1, "level": 7}, {"count": 1, "split": "test"}])
def test_wrong_settings_are_named(wrong):
    with pytest.raises(UsageError):
        Tabletop(**wrong)


def test_written_as_coco_it_reads_back_as_the_same_scenes(tmp_path):
    source = Tabletop(count=12, level=2, split="held-out")
    paths = write_coco(source, tmp_path)
    back = list(CocoSource(paths["images"], paths["annotations"], paths["captions"]))
    assert len(back) == 12
    reader = CocoSource(paths["images"], paths["annotations"], paths["captions"])
    for drawn, read in zip(source, back, strict=True):
        assert read.captions == drawn.captions
        assert read.licence == drawn.licence
        assert [(r.name, r.category) for r in read.regions] == [(r.name, r.category) for r in drawn.regions]
        for a, b in zip(drawn.regions, read.regions, strict=True):
            assert np.array_equal(a.mask(SIDE, SIDE), b.mask(SIDE, SIDE))
        jpeg, true = np.asarray(reader.open(read), int), np.asarray(source.open(drawn), int)
        assert np.abs(jpeg - true).mean() < 4


def test_the_panoptic_file_covers_every_pixel_once(tmp_path):
    source = Tabletop(count=4)
    paths = write_coco(source, tmp_path)
    for drawn, read in zip(source, CocoSource(paths["images"], panoptic=paths["panoptic"]), strict=True):
        masks = {r.category: r.mask(SIDE, SIDE) for r in read.regions if r.category == "table"}
        things = [r for r in read.regions if r.category != "table"]
        assert [r.category for r in things] == [r.category for r in drawn.regions]
        covered = masks["table"].astype(int) + sum(r.mask(SIDE, SIDE).astype(int) for r in things)
        assert (covered == 1).all()
