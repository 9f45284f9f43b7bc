"""Every family: placeholders equal visual tokens, ids equal the original processor's, batches equal single rows."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))
import tiny_families

from visift.core.errors import DataError
from visift.core.types import Conversation, Picture, Provenance, assistant, user
from visift.models import Renderer, Vlm, load
from visift.models.pictures import Pictures
from visift.train.pack import PackedCollator, balance, token_losses
from visift.train.rows import Collator, Row

pytestmark = pytest.mark.integration

SIZES = ((40, 28), (100, 50), (30, 90), (56, 56))


@pytest.fixture(scope="module", params=tiny_families.BUILDERS)
def vlm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Vlm:
    folder = tmp_path_factory.mktemp(request.param)
    return load(tiny_families.BUILDERS[request.param](folder), train=True)


def picture(size: tuple[int, int], seed: int) -> Image.Image:
    torch.manual_seed(seed)
    return Image.fromarray(torch.randint(0, 255, (size[1], size[0], 3), dtype=torch.uint8).numpy())


def row(vlm: Vlm, sizes: list[tuple[int, int]], words: str) -> Row:
    parts = [x for k in range(len(sizes)) for x in (k, f"then {k} ")]
    c = Conversation(words, tuple(Picture(f"{k}", width=w, height=h) for k, (w, h) in enumerate(sizes)),
                     (user(*parts, words), assistant(words[::-1]), user("more"), assistant("no")), Provenance("t"))  # fmt: skip
    pixels = [vlm.family.with_words(vlm.family.pixels(picture(s, k), len(sizes)), words) for k, s in enumerate(sizes)]
    return Row(c.id, 0, Renderer(vlm).row(c), pixels)


def some_rows(vlm: Vlm) -> list[Row]:
    return [
        row(vlm, [SIZES[1]], "one"),
        row(vlm, [SIZES[0], SIZES[2]], "two pictures"),
        row(vlm, [], "none"),
        row(vlm, [SIZES[3]], "last one"),
    ]


def test_placeholders_equal_visual_tokens_for_every_size(vlm: Vlm) -> None:
    for width, height in [*SIZES, (28, 28), (57, 41), (200, 31), (17, 120)]:
        for count in (1, 2):
            pixels = vlm.family.pixels(picture((width, height), 0), count)
            assert vlm.family.visual(pixels) == len(vlm.family.slot(width, height, count))


def test_a_batch_gives_each_row_what_it_gets_alone(vlm: Vlm) -> None:
    """Rows with one, two and no pictures, padded together: the model itself checks the counts."""
    rows = some_rows(vlm)
    vlm.model.eval()
    together = token_losses(vlm.model, Collator(vlm.family, 2)(rows))
    alone = torch.cat([token_losses(vlm.model, Collator(vlm.family, 2)([r])) for r in rows])
    assert alone.std() > 0.1
    assert torch.allclose(together, alone, atol=2e-5)


def test_packed_rows_do_not_see_each_other(vlm: Vlm) -> None:
    if not vlm.family.packs:
        pytest.skip("the family's own mask cannot be packed")
    rows = some_rows(vlm)
    vlm.model.eval()
    alone = torch.cat([token_losses(vlm.model, Collator(vlm.family, 2)([r])) for r in rows])
    packed = PackedCollator(vlm.family, 2, 10_000)(rows)
    assert packed["input_ids"].shape[0] == 1
    assert torch.allclose(token_losses(vlm.model, packed), alone, atol=1e-5)
    plain = {**packed, "attention_mask": torch.ones_like(packed["input_ids"])}
    assert (token_losses(vlm.model, plain) - alone).abs().max() > 0.01  # the mask is what does it


def test_every_parameter_belongs_to_a_part(vlm: Vlm) -> None:
    found = {vlm.family.part_of(name) for name, _ in vlm.model.named_parameters()}
    assert found == {"vision", "projector", "llm"}
    with pytest.raises(DataError, match="belongs to no known part"):
        vlm.family.part_of("other.weight")


def original(vlm: Vlm, inputs: dict[str, Any]) -> str:
    """What transformers' own processor writes for the first picture; those that need torchvision to be built are
    called without being built."""
    from transformers.models.idefics3.processing_idefics3 import Idefics3Processor
    from transformers.models.internvl.processing_internvl import InternVLProcessor
    from transformers.models.llava_next.processing_llava_next import LlavaNextProcessor
    from transformers.models.llava_onevision.processing_llava_onevision import LlavaOnevisionProcessor
    from transformers.models.qwen2_5_vl.processing_qwen2_5_vl import Qwen2_5_VLProcessor
    from transformers.models.smolvlm.processing_smolvlm import SmolVLMProcessor

    kind, family = vlm.model.config.model_type, vlm.family
    known = dict(image_token=family.marker, image_processor=vlm.image_processor)
    if kind == "llava_next":
        own: Any = LlavaNextProcessor(vlm.image_processor, vlm.tokenizer, patch_size=14, vision_feature_select_strategy="default",
                                      num_additional_image_tokens=1)  # fmt: skip
        return own.replace_image_token(inputs, 0)
    if kind == "llava_onevision":
        bare = SimpleNamespace(
            **known, num_image_tokens=4, vision_feature_select_strategy="full", vision_aspect_ratio="anyres_max_2"
        )
        for name in ("_get_number_of_features", "_get_unpadded_features"):
            setattr(bare, name, getattr(LlavaOnevisionProcessor, name).__get__(bare))
        return LlavaOnevisionProcessor.replace_image_token(bare, inputs, 0)
    if kind in ("idefics3", "smolvlm"):
        tags = dict(
            fake_image_token="<fake_token_around_image>",
            image_seq_len=4,
            global_image_tag="<global-img>",
            global_image_token="<global-img>",
        )
        return (Idefics3Processor if kind == "idefics3" else SmolVLMProcessor).replace_image_token(
            SimpleNamespace(**known, **tags), inputs, 0
        )
    if kind == "internvl":
        tags = dict(start_image_token="<img>", end_image_token="</img>", image_seq_length=4)
        return InternVLProcessor.replace_image_token(SimpleNamespace(**known, **tags), inputs, 0)
    if kind in ("qwen2_5_vl", "qwen3_vl"):
        return Qwen2_5_VLProcessor.replace_image_token(SimpleNamespace(**known), inputs, 0)
    return family.marker * 4  # llava, paligemma: 2 x 2 patches; blip-2, instructblip: 4 queries


@settings(max_examples=25)
@given(width=st.integers(16, 200), height=st.integers(16, 200), several=st.booleans())
def test_the_slot_is_what_the_original_processor_writes(vlm: Vlm, width: int, height: int, several: bool) -> None:
    nested = vlm.model.config.model_type in ("idefics3", "smolvlm", "llava_onevision")
    pictures = [picture((width, height), k) for k in range(1 + several)]
    options = {"return_row_col_info": True} if vlm.model.config.model_type in ("idefics3", "smolvlm") else {}
    inputs = vlm.image_processor([pictures] if nested else pictures, return_tensors="pt", **options)
    ids = vlm.tokenizer(original(vlm, inputs), add_special_tokens=False).input_ids
    assert vlm.family.slot(width, height, len(pictures)) == ids


def test_paligemma_ids_are_those_of_its_processor(tmp_path: Path) -> None:
    from transformers import PaliGemmaProcessor

    vlm = load(tiny_families.paligemma(tmp_path))
    ours = row(vlm, [], "x")
    c = Conversation("c", (Picture("p"),), (user(0, "What?"), assistant("red")), Provenance("t"))
    ours = Renderer(vlm).row(c)
    own = PaliGemmaProcessor(vlm.image_processor, load(tmp_path).tokenizer)
    made = own(images=picture((28, 28), 0), text="<image>What?", suffix="red")
    assert ours.input_ids == list(made["input_ids"][0] if isinstance(made["input_ids"][0], list) else made["input_ids"])
    assert vlm.tokenizer.decode([i for i, m in zip(ours.input_ids, ours.loss_mask, strict=True) if m]) == "red</s>"


def test_blip2_rounds_and_what_it_refuses(tmp_path: Path) -> None:
    from transformers import Blip2Config, Blip2ForConditionalGeneration, T5Config

    vlm = load(tiny_families.blip2(tmp_path))
    turns = (user("First ", 0, " or ", 1, "?"), assistant("the second"), user("Why?"), assistant("It is red."))
    c = Conversation("c", (Picture("p"), Picture("q")), turns, Provenance("t"))
    slot = "<image>" * 4
    said = f"</s>Question: First {slot} or {slot}? Answer: the second</s> Question: Why? Answer:"
    assert vlm.tokenizer.decode(Renderer(vlm).prompt(c).input_ids) == said
    assert vlm.tokenizer.decode(Renderer(vlm).row(c).input_ids) == said + " It is red.</s>"
    assert vlm.tokenizer.decode(Renderer(vlm).end_ids) == "</s>\n"

    text = T5Config(d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=2, vocab_size=len(vlm.tokenizer))
    config = Blip2Config(
        **{k: getattr(vlm.model.config, k) for k in ("vision_config", "qformer_config", "num_query_tokens", "image_token_index")},
        text_config=text,
    )  # fmt: skip
    Blip2ForConditionalGeneration(config).save_pretrained(tmp_path)
    with pytest.raises(DataError, match="blip-2 over an encoder-decoder is not supported"):
        load(tmp_path)
    config.image_token_index = None  # as in older checkpoints
    config.save_pretrained(tmp_path)
    with pytest.raises(DataError, match="names no token that stands for a picture"):
        load(tmp_path)


def test_a_picture_is_shown_turned_as_its_row_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (8, 4)).save(tmp_path / "a.jpg", exif=exif)
    shown: Any = SimpleNamespace(
        pixels=lambda image, count: {"size": torch.tensor(image.size)}, visual=lambda p: 1, with_words=lambda p, text: p
    )
    dataset: Any = SimpleNamespace(picture_path=lambda p: tmp_path / p.path)
    pictures = Pictures(dataset, shown)
    for size, seen in [((8, 4), [8, 4]), ((4, 8), [4, 8]), ((0, 0), [4, 8]), ((8, 4), [8, 4])]:
        image = Picture("a.jpg", width=size[0], height=size[1])
        c = Conversation("c", (image,), (user(0, "What?"), assistant("x")), Provenance("x"))
        assert pictures.of(c, [1])[0]["size"].tolist() == seen  # kept by size, too


@given(lengths=st.lists(st.integers(1, 400), min_size=1, max_size=60), capacity=st.integers(50, 1000))
def test_balanced_rows_hold_everything_once(lengths: list[int], capacity: int) -> None:
    layout = balance(lengths, capacity)
    assert sorted(k for line in layout for k in line) == list(range(len(lengths)))
    if len(lengths) >= 32 and capacity >= 8 * max(lengths):
        loads = [sum(lengths[k] for k in line) for line in layout]
        assert sum(loads) / (max(loads) * len(loads)) > 0.9


@given(
    rows=st.lists(st.tuples(st.integers(1, 400), st.integers(0, 6)), min_size=1, max_size=60), most=st.integers(1, 20)
)
def test_balanced_rows_are_even_in_pictures_too(rows: list[tuple[int, int]], most: int) -> None:
    lengths, pictures = zip(*rows, strict=True)
    layout = balance(lengths, 1000, pictures, most)
    assert sorted(k for line in layout for k in line) == list(range(len(rows)))
    held = [sum(pictures[k] for k in line) for line in layout]
    assert max(held) <= most + max(pictures)
    assert max(sum(lengths[k] for k in line) for line in layout) <= 1000 + max(lengths)
