"""Pictures of conversations as model inputs: opened under their roots, counted against the placeholders, kept while memory lasts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from PIL import Image

from visift.core.dataset import Dataset
from visift.core.errors import DataError
from visift.core.types import Conversation, Picture
from visift.models.families import Family
from visift.models.families.family import Pixels
from visift.sources.pictures import open_rgb


class Pictures:
    """Reads the pictures of one dataset for one model. `memory` bytes of prepared pictures are kept; 0 keeps none."""

    def __init__(self, dataset: Dataset, family: Family, memory: int = 1 << 30, grey: bool = False) -> None:
        self.dataset, self.family, self.grey = dataset, family, grey
        self.left = memory
        self.kept: dict[tuple[Picture, bool], Pixels] = {}

    def of(self, conversation: Conversation, slots: Sequence[int]) -> list[Pixels]:
        """What the model takes of each picture, in the order in which the text shows them (`slots` of the rendered row).

        Raises DataError naming the conversation when placeholders and visual tokens differ in number.
        """
        shown = [(p.image, t.text) for t in conversation.turns for p in t.parts if p.image is not None][: len(slots)]
        made = [self.family.with_words(self._one(conversation, k, len(shown)), text) for k, text in shown]
        counts = [self.family.visual(p) for p in made]
        if counts != list(slots):
            raise DataError(
                f"{list(slots)} placeholders for pictures of {counts} visual tokens", where=f"conversation {conversation.id}",
                remedy="are width and height in the row those of the picture?",
            )  # fmt: skip
        return made

    def _one(self, conversation: Conversation, index: int, count: int) -> Pixels:
        picture = conversation.images[index]
        key = (picture, count > 1)  # its size says whether it is turned
        found = self.kept.get(key)
        if found is None:
            path = self.dataset.picture_path(picture)
            try:
                image = open_rgb(path, (picture.width, picture.height))
            except DataError as e:
                raise DataError(e.what, where=f"conversation {conversation.id}: {path}", remedy=e.remedy) from e
            if self.grey:
                image = Image.new("RGB", image.size, (128, 128, 128))
            found = self.family.pixels(image, count)
            size = sum(t.numel() * t.element_size() for t in found.values())
            if size <= self.left:
                self.left -= size
                self.kept[key] = found
        return found


def with_sizes(conversation: Conversation, dataset: Dataset, family: Family) -> Conversation:
    """The conversation with the size of every picture, read from the file where the family needs it and the row has none."""
    if not family.sized or all(p.width and p.height for p in conversation.images):
        return conversation

    def sized(picture: Picture) -> Picture:
        if picture.width and picture.height:
            return picture
        image = open_rgb(dataset.picture_path(picture))
        return replace(picture, width=image.width, height=image.height)

    return conversation.with_images(tuple(sized(p) for p in conversation.images))
