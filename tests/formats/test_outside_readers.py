"""Our exports, opened by the programs they are made for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from visift.core.errors import DataError
from visift.core.types import Conversation, Picture, Turn, assistant, user
from visift.formats import TEXT, write
from visift.formats.normal import FOREIGN


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for k in range(3):
        Image.new("RGB", (8, 6), (80 * k, 0, 0)).save(tmp_path / f"{k}.png")
    return tmp_path


def some() -> list[Conversation]:
    text_only = Conversation("t", (), (user("Hi"), assistant("Ho")), FOREIGN, {"n": 1})
    pictures = (Picture("0.png"), Picture("1.png"))
    dialog = (
        user("Look ", 0, " and ", 1, "."),
        assistant("Two.", "sentence"),
        user("More?"),
        assistant("No.", "yes/no"),
    )
    return [
        text_only,
        Conversation("d", pictures, dialog, FOREIGN),
        Conversation("e", (Picture("2.png"),), (user(0, "?"), assistant("x")), FOREIGN),
    ]


def test_llava_json_as_its_own_loader_walks_it(root: Path) -> None:
    """LLaVA opens `image` under the image folder and wants human and gpt in turn."""
    single = [c for c in some() if len(c.images) < 2]
    write(root / "llava.json", single, "llava")
    rows = json.loads((root / "llava.json").read_text())
    for row in rows:
        if "image" in row:
            assert Image.open(root / row["image"]).size == (8, 6)
            assert sum(turn["value"].count("<image>") for turn in row["conversations"]) == 1
        assert [turn["from"] for turn in row["conversations"]] == ["human", "gpt"] * (len(row["conversations"]) // 2)


@pytest.mark.integration
@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
def test_messages_load_with_datasets_in_one_schema(root: Path, suffix: str) -> None:
    from datasets import load_dataset

    write(root / f"m{suffix}", some(), "messages")
    table = load_dataset("json", data_files=str(root / f"m{suffix}"), split="train", cache_dir=str(root / "cache"))
    assert table["images"][:] == [[], ["0.png", "1.png"], ["2.png"]]
    content = table[1]["messages"][0]["content"]
    assert [(p["type"], p["text"]) for p in content] == [
        ("text", "Look "),
        ("image", None),
        ("text", " and "),
        ("image", None),
        ("text", "."),
    ]


@pytest.mark.integration
def test_messages_that_datasets_would_mistype_are_refused(root: Path) -> None:
    """`datasets` takes the type of 'images' from the first 10 MiB: with no picture in them, the rest fails to load."""
    from datasets import load_dataset

    long = Conversation("t", (), (user("word " * 2000), assistant("a")), FOREIGN)
    many = [long] * 1200 + some()[1:]
    rows = "".join(json.dumps(TEXT["messages"][1](c)) + "\n" for c in many)
    (root / "m.jsonl").write_text(rows)
    with pytest.raises(Exception, match="generating the dataset"):
        load_dataset("json", data_files=str(root / "m.jsonl"), split="train", cache_dir=str(root / "cache"))
    with pytest.raises(DataError, match="without a picture come first"):
        write(root / "m.jsonl", many, "messages")
    assert write(root / "m.jsonl", many[-1:] + many, "messages") == 1203
    table = load_dataset("json", data_files=str(root / "m.jsonl"), split="train", cache_dir=str(root / "cache"))
    assert table[1202]["images"] == ["2.png"]


@pytest.mark.integration
def test_parquet_loads_with_datasets_and_decodes_its_pictures(root: Path) -> None:
    from datasets import load_dataset

    write(root / "p.parquet", some(), "parquet", locate=lambda p: root / p.path)
    table = load_dataset("parquet", data_files=str(root / "p.parquet"), split="train", cache_dir=str(root / "cache"))
    assert [[i.size for i in row["images"]] for row in table] == [[], [(8, 6)] * 2, [(8, 6)]]
    assert table[1]["images"][1].getpixel((0, 0)) == (80, 0, 0)


@pytest.mark.integration
def test_messages_train_one_step_through_the_chat_template(root: Path) -> None:
    """The path of transformers' own recipes: load_dataset -> apply_chat_template -> a loss that falls."""
    import torch
    from datasets import load_dataset
    from transformers import AutoModelForImageTextToText, CLIPImageProcessorPil, LlavaProcessor

    tiny_vlm = pytest.importorskip("tiny_vlm", reason="tests/models/tiny_vlm.py is not there")
    folder = tiny_vlm.llava(root / "model")
    model = AutoModelForImageTextToText.from_pretrained(folder)
    processor = LlavaProcessor(
        CLIPImageProcessorPil.from_pretrained(folder), tiny_vlm.tokenizer(), patch_size=14, num_additional_image_tokens=1,
        vision_feature_select_strategy="default", chat_template=tiny_vlm.CHATML,
    )  # fmt: skip
    write(root / "m.jsonl", some(), "messages")
    table = load_dataset("json", data_files=str(root / "m.jsonl"), split="train", cache_dir=str(root / "cache"))
    row = table[1]
    text = processor.apply_chat_template(row["messages"], tokenize=False)
    batch = processor(text=text, images=[Image.open(root / p) for p in row["images"]], return_tensors="pt")
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(2):
        loss = model(**batch, labels=batch["input_ids"]).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[1] < losses[0]


def test_turns_keep_their_roles_in_messages(root: Path) -> None:
    c = Conversation("s", (), (Turn("system", user("be brief").parts), user("q"), assistant("a")), FOREIGN)
    write(root / "m.jsonl", [c], "messages")
    row = json.loads((root / "m.jsonl").read_text())
    assert [m["role"] for m in row["messages"]] == ["system", "user", "assistant"]
