"""Hypothesis strategies for conversations, as outside files may hold them."""

from __future__ import annotations

from hypothesis import strategies as st

from visift.core.types import Conversation, Part, Picture, Provenance, Turn
from visift.formats.normal import FOREIGN

# No control of what people write, except half surrogate pairs (UTF-8 has none) and the literal placeholder.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30).filter(lambda t: "<image>" not in t)
NAMES = st.text(st.sampled_from("abc/._-é x"), min_size=1, max_size=12).map(
    lambda t: "p/" + t.replace("..", "_").lstrip("/")
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abi", max_size=3), inner, max_size=3),
    max_leaves=6,
)
META = st.dictionaries(
    st.sampled_from(["source", "id", "image", "images", "conversations", "messages", "visift", "score", "système"]),
    JSON,
    max_size=3,
)
PICTURES = st.builds(
    Picture, NAMES, st.sampled_from(["", "ab" * 32]), st.sampled_from([0, 640]), st.sampled_from([0, 480])
)
PROVENANCE = st.just(FOREIGN) | st.builds(
    Provenance,
    st.sampled_from(["", "listing"]),
    st.tuples(st.just("coco:1")) | st.just(()),
    st.just(("CC BY 2.0",)),
    st.integers(0, 9),
)


@st.composite
def conversations(draw: st.DrawFn, alternating: bool = True, system: bool = False) -> Conversation:
    """Pictures anywhere, several in a turn, out of order, used twice."""
    pictures = draw(st.lists(PICTURES, max_size=4))
    if alternating:
        roles = ["user", "assistant"] * draw(st.integers(1, 3))
    else:
        roles = draw(st.lists(st.sampled_from(["user", "assistant", "system"]), min_size=1, max_size=5))
    if system and draw(st.booleans()):
        roles = ["system", *roles]
    part = st.builds(Part, text=TEXTS)
    if pictures:
        part |= st.builds(Part, image=st.integers(0, len(pictures) - 1))
    turns = [
        Turn(
            role,
            tuple(draw(st.lists(part, max_size=4))),
            draw(st.sampled_from(["", "list", "number"])) if role == "assistant" else "",
        )
        for role in roles
    ]
    used = {p.image for t in turns for p in t.parts if p.image is not None}
    missing = tuple(Part(image=k) for k in range(len(pictures)) if k not in used)
    turns[0] = Turn(turns[0].role, missing + turns[0].parts, turns[0].form)
    name = draw(st.text("abc-12", min_size=1, max_size=8))
    return Conversation(name, tuple(pictures), tuple(turns), draw(PROVENANCE), draw(META))
