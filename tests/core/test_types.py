"""The types survive JSON and name the field that is wrong; errors survive a process pool."""

from __future__ import annotations

import json
import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from visift.core.errors import DataError, UsageError, VisiftError
from visift.core.rle import decode_rle, encode_rle
from visift.core.types import (
    Answer,
    Conversation,
    Mark,
    Part,
    Picture,
    Provenance,
    Region,
    TaggedPicture,
    Turn,
    assistant,
    user,
)  # fmt: skip

TEXT = st.text(max_size=12)
SMALL = st.integers(0, 999)
QUAD = st.tuples(SMALL, SMALL, SMALL, SMALL)
META = st.dictionaries(TEXT, st.integers() | TEXT | st.lists(TEXT, max_size=2), max_size=2)
PICTURE = st.builds(Picture, TEXT, TEXT, SMALL, SMALL)
PROVENANCE = st.builds(
    Provenance,
    TEXT,
    st.lists(TEXT, max_size=2).map(tuple),
    st.lists(TEXT, max_size=2).map(tuple),
    SMALL,
    TEXT,
    TEXT,
    TEXT,
)
MARK = st.builds(
    Mark,
    SMALL,
    TEXT,
    TEXT,
    st.tuples(SMALL, SMALL),
    QUAD,
    QUAD,
    SMALL,
    st.just({"size": [2, 2], "counts": "04"}),
    TEXT.filter(bool),
)


@st.composite
def conversation(draw: st.DrawFn) -> Conversation:
    images = tuple(draw(st.lists(PICTURE, max_size=3)))
    part = st.builds(Part, text=TEXT)
    if images:
        part |= st.builds(Part, image=st.integers(0, len(images) - 1))
    parts = st.lists(part, max_size=3).map(tuple)
    turn = st.builds(Turn, st.sampled_from(["system", "user"]), parts, TEXT) | st.builds(
        Turn, st.just("assistant"), parts, TEXT, st.booleans()
    )
    return Conversation(draw(TEXT), images, tuple(draw(st.lists(turn, max_size=4))), draw(PROVENANCE), draw(META))


ANSWER = st.builds(
    Answer, TEXT, TEXT, st.lists(TEXT, max_size=2).map(tuple), TEXT, TEXT, st.sampled_from(["stop", "length", "error"]), TEXT, META,
    st.lists(st.fixed_dictionaries({"role": TEXT, "text": TEXT}), max_size=2).map(tuple), META,
)  # fmt: skip
TAGGED = st.builds(TaggedPicture, TEXT, TEXT, TEXT, TEXT, SMALL, SMALL, TEXT, st.lists(MARK, max_size=2).map(tuple))


@given(conversation() | ANSWER | TAGGED | PICTURE | PROVENANCE)
def test_json_there_and_back(value: Any) -> None:
    assert type(value).from_json(json.loads(json.dumps(value.to_json()))) == value


@given(conversation(), st.data())
def test_a_row_with_any_field_replaced_is_read_or_refused(c: Conversation, data: st.DataObject) -> None:
    """Never another exception: strangers' rows end in a DataError."""
    row = json.loads(json.dumps(c.to_json()))
    target: Any = row
    while True:
        key = data.draw(st.sampled_from(sorted(target) if isinstance(target, dict) else range(len(target))))
        if not isinstance(target[key], (dict, list)) or not target[key] or data.draw(st.booleans()):
            break
        target = target[key]
    target[key] = data.draw(
        st.sampled_from([None, "x", -1, 7, 1.5, True, [], {}, [None], [7], {"type": "image", "image": 99}])
    )
    try:
        Conversation.from_json(row)
    except DataError as e:
        assert e.what


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({}, "'id' is missing"),
        ([], "expected a JSON object, found list"),
        ({"id": "a"}, "conversation a: field 'turns' is missing"),
        ({"id": "a", "turns": [{"role": "gpt", "parts": []}]}, "role 'gpt' is not one of"),
        ({"id": "a", "turns": [{"role": "user", "parts": [{"type": "audio"}]}]}, "neither text nor image"),
        (
            {"id": "a", "turns": [{"role": "user", "parts": [{"type": "image", "image": True}]}]},
            "is bool, expected int",
        ),
        (
            {"id": "a", "turns": [{"role": "user", "parts": [{"type": "image", "image": 0}]}]},
            "picture 0 is not among the 0",
        ),
    ],
)
def test_faults_are_named(row: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Conversation.from_json(row)


def test_a_part_is_text_or_picture() -> None:
    for kwargs in ({}, {"text": "a", "image": 0}):
        with pytest.raises(DataError):
            Part(**kwargs)  # type: ignore[arg-type]


def test_prompt_and_reference() -> None:
    c = Conversation("q", (), (user("a"), assistant("b"), user("c"), assistant("d")), Provenance("pope"))
    assert [t.text for t in c.prompt] == ["a", "b", "c"] and c.reference == "d"
    open_question = Conversation("q", (), (user("a"),), Provenance("pope"))
    assert open_question.prompt == open_question.turns and open_question.reference is None


@given(arrays(bool, st.tuples(st.integers(1, 20), st.integers(1, 20))))
def test_masks_survive_their_encoding(mask: np.ndarray) -> None:
    rle = encode_rle(mask)
    assert (decode_rle(json.loads(json.dumps(rle))) == mask).all()
    region = Region("r", "cat", (0, 0, 1, 1), rle)
    assert (region.mask(*mask.shape) == mask).all()


def test_segmentations_in_every_coco_spelling() -> None:
    box = Region("r", "cat", (1.0, 2.0, 3.0, 2.0)).mask(6, 8)
    polygon = Region("r", "cat", (0, 0, 0, 0), [[1, 2, 4, 2, 4, 4, 1, 4]]).mask(6, 8)
    flat = polygon.T.flatten().astype(int)  # uncompressed RLE: run lengths, column by column, starting with zeros
    edges = np.flatnonzero(np.diff(flat, prepend=0, append=1 - flat[-1]))
    counts = np.diff(edges, prepend=0).tolist()
    uncompressed = Region("r", "cat", (0, 0, 0, 0), {"size": [6, 8], "counts": counts}).mask(6, 8)
    assert box.sum() == 6 and (box == polygon).all() and (uncompressed == polygon).all()


@pytest.mark.parametrize(
    "segmentation",
    [
        [], [[1, 2, 3, 4]], [[1, 2, 3, 4, 5]], [[1, 2, float("nan"), 4, 5, 6]], {"size": [6, 8]}, {"size": [8, 6], "counts": [48]},
        {"counts": [48]}, [["a", "b", "c", "d", "e", "f"]],
    ],
)  # fmt: skip
def test_malformed_segmentations_are_refused(segmentation: Any) -> None:
    with pytest.raises(DataError, match="region r"):
        Region("r", "cat", (0, 0, 1, 1), segmentation).rle(6, 8)


def _fail(kind: type[VisiftError]) -> None:
    raise kind("it broke", where="file.json:3", remedy="mend it")


@pytest.mark.parametrize("kind", [VisiftError, UsageError, DataError])
def test_errors_survive_pickling(kind: type[VisiftError]) -> None:
    error = kind("it broke", where="file.json:3", remedy="mend it")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind and (again.what, again.where, again.remedy) == ("it broke", "file.json:3", "mend it")
    assert str(again) == "file.json:3: it broke. mend it" and again.exit_code == error.exit_code


@pytest.mark.integration
def test_errors_cross_a_process_pool() -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool, pytest.raises(DataError) as e:
        pool.submit(_fail, DataError).result()
    assert e.value.remedy == "mend it"
