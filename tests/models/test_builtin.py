"""The built-in model: small, plain Hugging Face, and spelled alike in pre-training and everywhere else."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

from visift.core.errors import UsageError
from visift.core.seeds import rng
from visift.evals.answer import answer
from visift.evals.score import score
from visift.models.attention import plain_attention
from visift.models.builtin import FOLDER, signs
from visift.models.builtin.architecture import fresh_model, image_processor, save
from visift.models.builtin.batches import Encoder, batches, collate, corpus, make_row
from visift.models.builtin.lessons import scene_of
from visift.models.builtin.pretrain import FINDING, GATHERING, POINTING, Pointer, Words, losses, of_its_kind, rate
from visift.models.builtin.settings import PretrainSettings
from visift.models.builtin.tokenizer import ASSISTANT, IMAGE, train_tokenizer
from visift.models.builtin.vision import Residual
from visift.sources.tabletop import COLOURS, SHAPES, SIDE, SIZES, Tabletop, Thing, draw_things, place_things
from visift.synth.frame import synthesise

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(corpus(rows=200))


def test_the_tokenizer_spells_everything_and_splits_digits(tokenizer):
    assert len(tokenizer) <= 4096
    for text in ("a large red circle.\n2. été 漢字 \t£", "1024 objects", ""):
        ids = tokenizer(text, add_special_tokens=False).input_ids
        assert tokenizer.decode(ids) == text
    assert len(tokenizer("1024", add_special_tokens=False).input_ids) == 4


def test_pre_training_spells_a_row_as_the_chat_template_does(tokenizer):
    encode = Encoder(tokenizer)
    for index in range(40):
        row = make_row(rng("spelling", index), describing=False, hard=0.1)
        ids, weights, *_ = encode(row)
        messages = []
        for k, (question, reply, _) in enumerate(row.rounds):
            pictures = [{"type": "image"}] * (49 * len(row.pictures) if k == 0 else 0)
            messages.append({"role": "user", "content": [*pictures, {"type": "text", "text": question}]})
            messages.append({"role": "assistant", "content": [{"type": "text", "text": reply}]})
        told = tokenizer.apply_chat_template(messages, return_dict=True, return_assistant_tokens_mask=True)
        assert ids == told["input_ids"]
        assert [x > 0 for x in weights] == [bool(m) for m in told["assistant_masks"]]


def test_no_lesson_puts_a_number_on_an_object_or_compares_pictures():
    """What the demo measures must not be in the base's lessons."""
    for index in range(150):
        row = make_row(rng("honest", index), describing=False, hard=0.1)
        if len(row.pictures) > 1:
            asked = " ".join(q for q, *_ in row.rounds).lower()
            assert not any(word in asked for word in ("differ", "change", "same", "compare", "both"))
        for question, reply, *_ in row.rounds:
            assert not (re.search(r"number \d", question) and any(shape in question + reply for shape in SHAPES))
            assert len(re.findall(r"\b[A-Z]\b(?!\. )", question + reply)) <= 2, "one sign at a time"


def test_digits_keep_clear_of_objects():
    for index in range(80):
        gen = rng("clear", index)
        things = place_things(gen, 0)[:3]
        picture = draw_things(gen, things, 0)[0]
        before = picture.copy()
        signs.paste_digits(gen, picture, [(t.x, t.y, t.diameter // 2 + 1) for t in things])
        for t in things:
            half = t.diameter // 2
            square = np.s_[t.y - half : t.y + half, t.x - half : t.x + half]
            assert np.array_equal(before[square], picture[square])


def test_stickers_cover_the_middle_of_some_things_and_bear_no_number():
    assert not set(signs.LETTERS) & set("0123456789")
    things = [Thing("circle", "red", "large", 30, 30, 36), Thing("square", "blue", "large", 80, 80, 36)]
    covered = 0
    for index in range(40):
        picture = np.full((112, 112, 3), 90, np.uint8)
        found = signs.paste_stickers(rng("test", index), picture, things)
        assert all(signs.SIGNS[f.sign] in signs.LETTERS for f in found)
        changed = np.argwhere((picture != 90).any(-1))
        stuck = [bool((picture[t.y - 8 : t.y + 9, t.x - 8 : t.x + 9] != 90).any()) for t in things]
        assert all(stuck[f.thing] for f in found)
        covered += sum(stuck)
        for y, x in changed:
            assert any(max(abs(x - t.x), abs(y - t.y)) <= 18 for t in things)
    assert 40 <= covered <= 72  # of 80: 40 to 100 % of a picture's things


def test_what_is_asked_about_letters_is_so():
    asked = 0
    for index in range(40):
        gen = rng("letters", index)
        things = place_things(gen, 0)
        scene = scene_of(things)
        found = signs.paste_stickers(gen, draw_things(gen, things, 0)[0], things)
        letters = {signs.SIGNS[f.sign]: things[f.thing].name for f in found}
        assert len(letters) == len(found)
        for question, reply, _ in signs.letter_rounds(gen, scene, found):
            named = re.findall(r"\b[A-Z]\b", question)
            if question.startswith("What is written on the"):
                assert letters[reply].endswith(question.split()[-1].rstrip("?"))
            elif not question.startswith("Where"):
                assert letters[named[0]] == reply
                asked += 1
    assert asked > 40


def test_a_letter_on_a_thing_does_not_teach_that_no_digit_stands_on_things():
    """Letters are told from letters, digits from digits, and either from nothing."""
    logits = torch.zeros(1, 3, len(signs.SIGNS))
    got = of_its_kind(logits, torch.tensor([[0, 4, 12]]))[0]
    digits, letters = 1 + np.arange(9), np.arange(10, len(signs.SIGNS))
    assert torch.isfinite(got[0]).all()
    assert torch.isfinite(got[1, [0, *digits]]).all() and torch.isinf(got[1, letters]).all()
    assert torch.isfinite(got[2, [0, *letters]]).all() and torch.isinf(got[2, digits]).all()


def test_a_round_points_at_the_patches_of_what_it_is_about(tokenizer):
    """The label is the token before the name and, of the row's picture tokens, those over the thing's middle."""
    encode = Encoder(tokenizer)
    asked_about, named_next = 0, 0
    for index in range(60):
        row = make_row(rng("pointing", index), describing=False, hard=0.0)
        ids, _, looks, _ = encode(row)
        shown = np.concatenate(row.labels)
        about = [(asked, look) for asked in row.rounds for look in asked.looks]
        assert len(looks) == len(about)
        for (at, cells), (asked, (character, patches)) in zip(looks, about, strict=True):
            assert cells == tuple(2 + c for c in patches)
            assert all(ids[c] == encode.one["<image>"] for c in cells)
            shapes = {int(shown[c, 0]) for c in patches}
            next_words = tokenizer.decode(ids[at + 1 : at + 10]).removesuffix("<|end|>").strip()
            assert asked.answer[character:].startswith(next_words.split("<")[0].strip()[:6]), (asked, next_words)
            if character == 0 and not asked.answer[0].isdigit():
                assert ids[at] == encode.one["<|assistant|>"]
                named = [
                    1 + SHAPES.index(s) for s in SHAPES if f" {s}" in asked.question and "A. " not in asked.question
                ]
                if len(named) == 1 and " or " not in asked.question:
                    assert named[0] in shapes, asked
                    asked_about += 1
            elif any(asked.answer[character:].startswith((f"a {size}", size)) for size in SIZES):
                words = asked.answer[character:].replace(",", "").replace(".", "").split()
                assert 1 + SHAPES.index(next(w for w in words if w in SHAPES)) in shapes, asked
                named_next += 1
    assert asked_about > 40
    assert named_next > 40


def test_the_pointing_loss_by_hand(tokenizer):
    model = fresh_model(tokenizer, seed=0)
    pointer = Pointer(model)
    fallen = torch.tensor([[[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.2, 0.3, 0.5]]])  # (1, 3, 3)
    pointer.weights = dict.fromkeys(POINTING, fallen)
    batch = {
        "pointing": torch.tensor([[0, 2], [0, 1]]),
        "pointed": torch.tensor([[True, True, False], [True, False, False]]),
    }
    assert pointer.pointing(batch).item() == pytest.approx(np.log(2), abs=1e-4)


def test_the_finding_loss_by_hand(tokenizer):
    """A picture of two patches, then the words ` red`, ` moon` and one that names nothing: only a word whose thing is shown looks."""
    words = Words(tokenizer, 192)
    red, moon, other = words.ids[1][list(COLOURS).index("red")], words.ids[0][list(SHAPES).index("moon")], 0
    pointer = Pointer(fresh_model(tokenizer, seed=0))
    fallen = torch.full((1, 5, 5), 0.2)
    fallen[0, 2] = torch.tensor([0.25, 0.5, 0.25, 0.0, 0.0])
    pointer.weights = dict.fromkeys(FINDING, fallen)
    shown = torch.zeros(1, 2, 4, dtype=torch.long)
    shown[0, 1, 1] = 1 + list(COLOURS).index("red")  # the second patch is red, and no moon
    batch = {
        "input_ids": torch.tensor([[0, 0, red, moon, other]]),
        "is_picture": torch.tensor([[True, True, False, False, False]]),
        "dense": shown.expand(1, 2, 4),
    }
    assert pointer.finding(batch, words.shown).item() == pytest.approx(np.log(2), abs=1e-4)
    batch["dense"] = torch.zeros(1, 2, 4, dtype=torch.long)
    assert pointer.finding(batch, words.shown).item() == 0


def test_the_gathering_loss_by_hand(tokenizer):
    """From where the answer begins to the words of labels in its own question, not to other words nor to other questions."""
    words = Words(tokenizer, 192)
    red, moon = words.ids[1][list(COLOURS).index("red")], words.ids[0][list(SHAPES).index("moon")]
    pointer = Pointer(fresh_model(tokenizer, seed=0))
    fallen = torch.full((1, 6, 6), 0.1)
    fallen[0, 4] = torch.tensor([0.5, 0.0, 0.25, 0.125, 0.125, 0.0])
    pointer.weights = dict.fromkeys(GATHERING, fallen)
    batch = {
        "input_ids": torch.tensor([[red, 0, moon, 0, 0, red]]),  # the first word is of an earlier question
        "asking": torch.tensor([[0, 4], [0, 1]]),
        "question": torch.tensor([[False, False, True, True, False, False], [False] * 6]),
    }
    assert pointer.gathering(batch, words.shown).item() == pytest.approx(np.log(4), abs=1e-4)


def test_a_question_s_tokens_are_those_of_its_words(tokenizer):
    encode = Encoder(tokenizer)
    for index in range(20):
        row = make_row(rng("asked", index), describing=False, hard=0.0)
        found = encode(row)
        assert len(found.asked) == len(row.rounds)
        for (at, first, behind), asked in zip(found.asked, row.rounds, strict=True):
            assert found.ids[at] == encode.one[ASSISTANT]
            assert found.ids[first:behind] == tokenizer(asked.question, add_special_tokens=False)["input_ids"]


def test_labels_are_read_by_likeness_to_words(tokenizer):
    """A patch that lies at the word for a colour has that colour for its likeliest."""
    torch.manual_seed(0)
    words = Words(tokenizer, 192)
    embedding = torch.randn(len(tokenizer), 192)
    embedding -= embedding.mean(-1, keepdim=True)
    blue = list(COLOURS).index("blue")
    assert tokenizer.decode(words.ids[1][blue]).strip() == "blue"
    logits = words(embedding[words.ids[1][blue]].view(1, 1, 192), embedding)
    assert [x.shape[-1] for x in logits] == [9, 9, 3, len(signs.SIGNS)]
    assert logits[1][0, 0].argmax() == 1 + blue


def test_a_vocabulary_without_the_words_is_refused(tokenizer):
    few = train_tokenizer(["abc"], 270)
    with pytest.raises(UsageError, match="vocab_size"):
        Words(few, 192)


def test_patch_labels_say_what_stands_there():
    gen = rng("labels", 0)
    things = place_things(gen, 0)
    labels = signs.patch_labels(things, []).reshape(7, 7, 4)
    for t in things:
        at = labels[min(6, t.y // 16), min(6, t.x // 16)]
        assert at.tolist() == [
            1 + list(SHAPES).index(t.shape), 1 + list(COLOURS).index(t.colour), 1 + list(SIZES).index(t.size), 0,
        ]  # fmt: skip
    assert signs.patch_labels([], [(7, 20, 40)]).reshape(7, 7, 4)[2, 1].tolist() == [-1, -1, -1, 7]


def test_it_is_small_has_no_batch_norm_and_reads_far(tokenizer):
    model = fresh_model(tokenizer, seed=0)
    assert sum(p.numel() for p in model.parameters()) <= 6_000_000
    assert model.config.text_config.num_hidden_layers >= 6
    assert model.config.text_config.max_position_embeddings >= 8192
    assert not any("BatchNorm" in type(m).__name__ for m in model.modules())


def test_a_fresh_tower_s_residuals_change_nothing(tokenizer):
    tower = fresh_model(tokenizer, seed=0).model.vision_tower
    found = [m for m in tower.modules() if isinstance(m, Residual)]
    assert found
    for residual in found:
        x = torch.randn(1, residual.inner[0].in_channels, 5, 5)
        assert torch.equal(residual(x), x)


def test_the_folder_is_plain_hugging_face(tokenizer, tmp_path):
    model = fresh_model(tokenizer, seed=0).eval()
    save(model, tokenizer, tmp_path)
    again, info = AutoModelForImageTextToText.from_pretrained(tmp_path, dtype=torch.float32, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    processor = AutoProcessor.from_pretrained(tmp_path, backend="pil")
    picture = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)
    inputs = processor(text="<s><|user|><image>What is it?<|assistant|>", images=[picture], return_tensors="pt")
    assert (inputs["input_ids"] == model.config.image_token_id).sum() == 49
    with torch.no_grad():
        assert torch.isfinite(again.eval()(**inputs).logits).all()


def test_pixels_are_prepared_alike_in_pre_training_and_by_the_processor():
    picture = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)
    theirs = image_processor()(images=[picture], return_tensors="np")["pixel_values"][0]
    ours = picture.transpose(2, 0, 1).astype(np.float32) / 127.5 - 1
    assert np.abs(theirs - ours).max() < 1e-5


def test_the_text_loss_is_the_weighted_mean_of_the_model_s_own(tokenizer):
    """Logits only at learnt places: the same number as the full forward pass gives."""
    model = fresh_model(tokenizer, seed=0).eval()
    encode = Encoder(tokenizer)
    rows = [(encode(r), r) for r in (make_row(rng("loss", k), False, 0.0) for k in range(4))]
    batch = collate(rows, encode.pad, encode.one[IMAGE])
    with torch.no_grad():
        found = losses(model, Words(tokenizer, 192), batch, Pointer(model))
        pixels = batch["pixels"].permute(0, 3, 1, 2).float() / 127.5 - 1
        whole = model(
            input_ids=batch["input_ids"],
            pixel_values=pixels,
            attention_mask=batch["attention_mask"],
        )
        logits = whole.logits[:, :-1].transpose(1, 2)  # (B, V, T-1)
        each = torch.nn.functional.cross_entropy(logits, batch["input_ids"][:, 1:], reduction="none")
        weights = batch["weights"][:, 1:]
    replies = [len(encode.text(a.answer)[0]) + 1 for _, r in rows for a in r.rounds]
    assert weights.sum().item() == pytest.approx(sum(n**0.5 for n in replies), abs=1e-3)
    assert found["text"].item() == pytest.approx(((each * weights).sum() / weights.sum()).item(), abs=1e-5)
    assert all(torch.isfinite(part) and part > 0 for part in found.values())


def test_batches_are_the_same_after_a_restart(tokenizer):
    settings = PretrainSettings(batch_size=2, only_seen=1, steps=40)
    encode = Encoder(tokenizer)
    unbroken = [b["pixels"] for b, _ in zip(batches(settings, encode, 0), range(12), strict=False)]
    resumed = [b["pixels"] for b, _ in zip(batches(settings, encode, 9), range(3), strict=False)]
    assert all(torch.equal(a, b) for a, b in zip(unbroken[9:], resumed, strict=True))


def test_the_rate_warms_up_stays_and_falls():
    s = PretrainSettings(steps=100, looking=0, lr=1.0, warmup=10, decay=0.3)
    assert [rate(k, s) for k in (0, 9, 50, 70, 85, 100)] == pytest.approx([0.1, 1, 1, 1, 0.5, 0])


@pytest.mark.parametrize("boolean", [False, True])
def test_plain_attention_is_softmax_attention(boolean):
    torch.manual_seed(0)
    q, k, v = torch.randn(2, 4, 5, 8), torch.randn(2, 2, 7, 8), torch.randn(2, 2, 7, 8)
    allowed = torch.rand(2, 1, 5, 7) > 0.3
    allowed[..., 0] = True
    mask = allowed if boolean else torch.zeros(2, 1, 5, 7).masked_fill(~allowed, torch.finfo(torch.float32).min)
    got, _ = plain_attention(torch.nn.Module(), q, k, v, mask)
    kk, vv = k.repeat_interleave(2, 1), v.repeat_interleave(2, 1)
    want = torch.nn.functional.scaled_dot_product_attention(q, kk, vv, attn_mask=allowed)
    assert torch.allclose(got.transpose(1, 2), want, atol=1e-6)


@pytest.mark.integration
@pytest.mark.skipif(not (FOLDER / "model.safetensors").exists(), reason="the shipped weights are not there")
def test_the_shipped_base_describes_what_it_sees(tmp_path):
    """Captions of held-out scenes; a base that cannot see recalls next to nothing. Its folder is small, as it lies in the package."""
    assert sum(p.stat().st_size for p in FOLDER.iterdir()) <= 12 << 20
    synthesise("questions", Tabletop(12, split="held-out"), tmp_path / "q", skill="caption", per_scene=1)
    answer("caption", "builtin", tmp_path / "q", tmp_path / "a.jsonl", max_new_tokens=64)
    seen = score("caption", tmp_path / "a.jsonl", questions=tmp_path / "q")["metrics"]["recall"]["value"]
    grey = tmp_path / "grey.jsonl"
    answer("caption", "builtin", tmp_path / "q", grey, max_new_tokens=64, grey=True)
    blind = score("caption", grey, questions=tmp_path / "q")["metrics"]["recall"]["value"]
    assert seen > 0.6
    assert blind < 0.3
