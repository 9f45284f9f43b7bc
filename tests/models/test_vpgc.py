"""VPG-C hangs in every family without changing a bit, computes what the formulas say, and leaks nothing."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_data
import tiny_families
import tiny_vlm
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    InstructBlipConfig,
    InstructBlipForConditionalGeneration,
    LlamaConfig,
)

from visift.core.dataset import Dataset
from visift.core.errors import DataError, UsageError
from visift.models import Renderer, Vlm, builtin, load, vpgc
from visift.models.pictures import Pictures
from visift.train.rows import Collator, Row

pytestmark = pytest.mark.integration

OWN = ("labels", "row_ids", "sources", "real")


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_data.dataset(tmp_path_factory.mktemp("mixed"), 4, mixed=True)  # one picture, two, none, one


@pytest.fixture(scope="module")
def vlms(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Family -> loaded once; whoever takes one removes its adapter."""
    made: dict[str, Vlm] = {}

    def get(family: str) -> Vlm:
        if family not in made:
            made[family] = load(tiny_families.BUILDERS[family](tmp_path_factory.mktemp(family)))
        if (left := vpgc.attached(made[family].model)) is not None:
            left.remove()
        made[family].model.requires_grad_(True)
        return made[family]

    return get


def batch(vlm: Vlm, data: Path, rows: Any = range(4)) -> dict[str, torch.Tensor]:
    renderer, pictures = Renderer(vlm), Pictures(Dataset(data), vlm.family)
    conversations = list(Dataset(data))
    texts = {k: renderer.row(conversations[k]) for k in rows}
    made = [Row(conversations[k].id, 0, texts[k], pictures.of(conversations[k], texts[k].slots)) for k in rows]
    return Collator(vlm.family, 2)(made)


def inputs(made: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {k: v for k, v in made.items() if k not in OWN}


def awake(adapter: vpgc.Adapter, seed: int = 0) -> vpgc.Adapter:
    """With weights large enough to be seen in the logits."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in adapter.parameters():
            p.normal_(0, 0.3, generator=generator)
    return adapter


@pytest.mark.parametrize("family", tiny_families.BUILDERS)
def test_attaching_changes_no_bit_and_an_awake_adapter_does(family: str, vlms: Any, mixed: Path) -> None:
    vlm = vlms(family)
    given = inputs(batch(vlm, mixed))
    with torch.no_grad():
        before = vlm.model(**given).logits
        adapter = vpgc.attach(vlm.model)
        assert adapter.layer == 1 and adapter.variant == (
            "qformer" if family in ("blip-2", "instructblip") else "linear"
        )
        assert torch.equal(vlm.model(**given).logits, before)
        awake(adapter)
        after = vlm.model(**given).logits
        moved = (after - before).abs().amax((1, 2))  # (B,)
        assert moved[2] == 0 and moved[[0, 1, 3]].min() > 1e-3  # the row without a picture stays
        adapter.remove()
        assert torch.equal(vlm.model(**given).logits, before)
        assert not any("vpgc" in n for n, _ in vlm.model.named_parameters())


def test_the_builtin_model_takes_it(mixed: Path) -> None:
    vlm = load("builtin")
    given = inputs(batch(vlm, mixed))
    with torch.no_grad():
        before = vlm.model(**given).logits
        adapter = vpgc.attach(vlm.model)
        assert torch.equal(vlm.model(**given).logits, before)
    assert adapter.layer == 3
    assert adapter.census() == {"guidance": 192 * 193, "gate": 192**2, "filter": 192**2, "reinject": 192 * 193,
                                "total": 2 * 192 * 193 + 2 * 192**2}  # fmt: skip
    assert Path(vlm.path) == builtin.FOLDER


@pytest.mark.parametrize(("width", "total"), [(4096, 6_320_896), (5120, 7_894_784)])
def test_the_published_sizes(width: int, total: int) -> None:
    text = LlamaConfig(
        hidden_size=width, num_hidden_layers=32, num_attention_heads=32, intermediate_size=64, vocab_size=100
    )
    config = InstructBlipConfig(text_config=text, num_query_tokens=32, image_token_index=7)
    with torch.device("meta"):
        model = InstructBlipForConditionalGeneration(config)
    adapter = vpgc.attach(model)
    census = adapter.census()
    assert adapter.layer == 16 and census["total"] == total
    assert census["queries"] == 24_576 and census["guidance"] == 768 * (width + 1)
    assert census["reinject"] == width * 769


# ---- the formulas, again in NumPy ----


def arrays(adapter: vpgc.Adapter) -> dict[str, np.ndarray]:
    return {n: p.detach().numpy() for n, p in adapter.named_parameters()}


def around(adapter: vpgc.Adapter, model: Any, given: dict[str, torch.Tensor]) -> tuple[np.ndarray, np.ndarray]:
    """Hidden states (B, T, d) before and after the adapter."""
    seen: dict[str, torch.Tensor] = {}
    enrich = adapter._enriched

    def spy(hidden: torch.Tensor, call: Any) -> torch.Tensor:
        seen["before"] = hidden
        seen["after"] = enrich(hidden, call)
        return seen["after"]

    adapter._enriched = spy  # type: ignore[method-assign]
    with torch.no_grad():
        model(**given)
    del adapter._enriched
    return seen["before"].numpy(), seen["after"].numpy()


@pytest.mark.parametrize("guidance", ["prompt", "zero", "shuffled"])
def test_linear_is_its_formula(guidance: str, vlms: Any, mixed: Path) -> None:
    vlm = vlms("llava")
    model = copy.deepcopy(vlm.model).double()
    adapter = awake(vpgc.attach(model, guidance=guidance)).double()
    made = batch(vlm, mixed)
    given = inputs(made) | {"labels": made["labels"]}
    given["pixel_values"] = given["pixel_values"].double()
    before, after = around(adapter, model, given)
    with torch.no_grad():
        tower = model.model.vision_tower(given["pixel_values"], output_hidden_states=True)
    pictures = tower.hidden_states[-1][:, 1:].numpy()  # (4 pictures, 4 patches, 32)
    w = arrays(adapter)
    owners, wanted = [0, 1, 1, 3], before.copy()
    last = [int((made["labels"][b] != -100).nonzero()[0]) - 1 for b in range(4)]
    asks = {0: 3, 1: 0, 3: 1} if guidance == "shuffled" else {0: 0, 1: 1, 3: 3}  # the next row with pictures, in a ring
    for b in (0, 1, 3):
        places = np.flatnonzero(given["input_ids"][b].numpy() == vlm.family.image_id)
        x = np.concatenate([pictures[k] for k in range(4) if owners[k] == b])
        g = w["guidance.weight"] @ before[asks[b], last[asks[b]]] + w["guidance.bias"]
        g = g * (guidance != "zero")
        for place, feature in zip(places, x, strict=True):
            again = (1 + w["gate.weight"] @ g) * (w["filter.weight"] @ feature)
            wanted[b, place] += w["reinject.weight"] @ again + w["reinject.bias"]
    assert np.abs(after - wanted).max() < 1e-6 < np.abs(after - before).max()


@pytest.mark.parametrize("family", ["blip-2", "instructblip"])
def test_qformer_is_its_formula(family: str, vlms: Any, mixed: Path) -> None:
    vlm = vlms(family)
    model = copy.deepcopy(vlm.model).double()
    adapter = vpgc.attach(model)
    assert torch.equal(adapter.queries, model.query_tokens.float())
    awake(adapter).double()
    made = batch(vlm, mixed)
    given = inputs(made) | {"labels": made["labels"]}
    given["pixel_values"] = given["pixel_values"].double()
    before, after = around(adapter, model, given)
    w, q, owners, wanted = arrays(adapter), 4, [0, 1, 1, 3], before.copy()
    used = dict.fromkeys(owners, 0)
    for k, b in enumerate(owners):
        last = int((made["labels"][b] != -100).nonzero()[0]) - 1
        g = w["guidance.weight"] @ before[b, last] + w["guidance.bias"]
        asked = torch.from_numpy(g[None, None] + w["queries"])
        with torch.no_grad():  # the Q-Former itself is the model's
            image = model.vision_model(given["pixel_values"][k : k + 1])[0]
            words: dict[str, torch.Tensor] = {}
            if family == "instructblip":
                mask = given["qformer_attention_mask"][k : k + 1]
                words = {"input_ids": given["qformer_input_ids"][k : k + 1],
                         "attention_mask": torch.cat([torch.ones(1, q, dtype=mask.dtype), mask], 1)}  # fmt: skip
            read = model.qformer(**words, query_embeds=asked, encoder_hidden_states=image)[0][0, :q].numpy()
        places = np.flatnonzero(given["input_ids"][b].numpy() == vlm.family.image_id)[used[b] : used[b] + q]
        used[b] += q
        wanted[b, places] += read @ w["reinject.weight"].T + w["reinject.bias"]
    assert np.abs(after - wanted).max() < 1e-6 < np.abs(after - before).max()


# ---- what it must not do ----


@pytest.mark.parametrize("family", ["llava", "qwen2.5-vl", "paligemma", "blip-2", "instructblip"])
def test_answers_do_not_leak_into_their_own_logits(family: str, vlms: Any, mixed: Path) -> None:
    """Changing the answer at or after a labelled token never changes that token's logits."""
    vlm = vlms(family)
    awake(vpgc.attach(vlm.model))
    made = batch(vlm, mixed, [1, 0])
    given, labels = inputs(made), made["labels"]
    at = vpgc.guidance_places(given["input_ids"], labels, given["attention_mask"], None)
    with torch.no_grad():
        plain = vlm.model(**given, guidance_at=at).logits
        for row in range(2):
            learnt = (labels[row] != -100).nonzero().flatten().tolist()
            for t in (learnt[0], learnt[len(learnt) // 2]):
                changed = given | {"input_ids": given["input_ids"].clone()}
                changed["input_ids"][row, t : learnt[-1] + 1] = 7
                found = vlm.model(**changed, labels=labels).logits
                assert float((found[row, :t] - plain[row, :t]).abs().max()) < 1e-6
                assert t == learnt[-1] or not torch.equal(found[row, t:], plain[row, t:])


def test_without_labels_the_prompt_ends_with_the_row(vlms: Any, mixed: Path) -> None:
    vlm = vlms("llava")
    awake(vpgc.attach(vlm.model))
    given = inputs(batch(vlm, mixed))
    ends = given["attention_mask"].sum(1)  # padded on the right
    left = {k: torch.stack([torch.roll(v[b], int(v.shape[1] - ends[b])) for b in range(4)]) if v.dim() == 2 else v
            for k, v in given.items()}  # fmt: skip
    with torch.no_grad():
        right_logits, left_logits = vlm.model(**given).logits, vlm.model(**left).logits
        for b in range(4):
            alone = vlm.model(**inputs(batch(vlm, mixed, [b]))).logits[0]
            assert torch.allclose(right_logits[b, : ends[b]], alone, atol=1e-5)
            assert torch.allclose(left_logits[b, -ends[b] :], alone, atol=1e-5)


def test_places_by_hand() -> None:
    ids = torch.zeros(2, 6, dtype=torch.long)
    labels = torch.tensor([[-100, -100, 5, 5, -100, -100], [-100] * 6])
    mask = torch.tensor([[1, 1, 1, 1, 0, 0], [0, 1, 1, 1, 1, 0]])
    assert vpgc.guidance_places(ids, labels, mask).tolist() == [[1] * 6, [4] * 6]
    assert vpgc.guidance_places(ids, None, mask).tolist() == [[3] * 6, [4] * 6]
    packed = torch.tensor([[0, 1, 2, 0, 1, 2], [0, 1, 2, 3, 4, 0]])
    labels = torch.tensor([[-100, -100, 5, 9, -100, 5], [-100, 5, 5, -100, -100, -100]])
    found = vpgc.guidance_places(ids, labels, None, packed)
    assert found.tolist() == [[1, 1, 1, 4, 4, 4], [0, 0, 0, 0, 0, 5]]
    assert torch.equal(vpgc.guidance_places(ids, labels, None, packed[None].repeat(3, 1, 1)), found)


@pytest.mark.parametrize("family", ["llava", "qwen3-vl", "idefics3", "paligemma", "blip-2", "instructblip"])
def test_generate_with_a_cache_is_generate_without(family: str, vlms: Any, mixed: Path) -> None:
    vlm = vlms(family)
    renderer, pictures = Renderer(vlm), Pictures(Dataset(mixed), vlm.family)
    asked = [c for k, c in enumerate(Dataset(mixed)) if family != "instructblip" or k != 2]
    texts = [renderer.prompt(c) for c in asked]
    made = [Row(c.id, 0, t, pictures.of(c, t.slots)) for c, t in zip(asked, texts, strict=True)]

    def prompt(rows: list[Row]) -> dict[str, torch.Tensor]:
        longest = max(len(r.text.input_ids) for r in rows)
        ids = torch.tensor([[2] * (longest - len(r.text.input_ids)) + r.text.input_ids for r in rows])
        mask = torch.tensor([[0] * (longest - len(r.text.input_ids)) + [1] * len(r.text.input_ids) for r in rows])
        return {
            "input_ids": ids,
            "attention_mask": mask,
            **vlm.family.batch([r.pixels for r in rows]),
            **vlm.family.extra(ids),
        }

    def generate(rows: list[Row], **options: Any) -> Any:
        made = vlm.model.generate(**prompt(rows), max_new_tokens=5, do_sample=False, output_logits=True, eos_token_id=[399],
                                  pad_token_id=2, return_dict_in_generate=True, **options)  # fmt: skip
        return made.sequences[:, -5:], torch.stack(made.logits, 1)  # (B, 5), (B, 5, V)

    _, plain = generate(made)
    awake(vpgc.attach(vlm.model))
    with pytest.raises(UsageError, match="leave prefill_chunk_size out"):
        generate(made, prefill_chunk_size=4)
    tokens, logits = generate(made)
    assert not torch.allclose(logits[:, 0], plain[:, 0], atol=1e-3)
    slow, slow_logits = generate(made, use_cache=False)
    assert torch.equal(tokens, slow) and torch.allclose(logits, slow_logits, atol=1e-4)
    for b, row in enumerate(made):
        alone, alone_logits = generate([row])
        assert torch.equal(tokens[b], alone[0]) and torch.allclose(logits[b], alone_logits[0], atol=1e-4)
    if family in ("llava", "blip-2", "instructblip"):
        beams = {"num_beams": 3, "max_new_tokens": 4, "pad_token_id": 2, "eos_token_id": [399]}
        cached = vlm.model.generate(**prompt(made), **beams)
        assert torch.equal(cached, vlm.model.generate(**prompt(made), **beams, use_cache=False))


def test_callers_that_hide_the_pictures_are_refused(vlms: Any, mixed: Path) -> None:
    vlm = vlms("llava")
    given = inputs(batch(vlm, mixed, [0]))
    embedded = vlm.model.get_input_embeddings()(given["input_ids"])
    vpgc.attach(vlm.model)
    with torch.no_grad():
        with pytest.raises(UsageError, match="cannot see in inputs_embeds"):
            vlm.model(inputs_embeds=embedded)
        with pytest.raises(UsageError, match="past the model around it"):
            vlm.model.model.language_model(inputs_embeds=embedded)
        with pytest.raises(DataError, match="0 image features for 4 visual tokens"):
            vlm.model(input_ids=given["input_ids"])
        with pytest.raises(UsageError, match="packed rows do not say"):
            vlm.model(**given | {"attention_mask": torch.zeros(1, 1, 30, 30)})
        cache = vlm.model(**given, use_cache=True).past_key_values
        with pytest.raises(UsageError, match="pictures after a cached beginning"):
            vlm.model(**given, past_key_values=cache)
    with pytest.raises(UsageError, match="has a VPG-C adapter already"):
        vpgc.attach(vlm.model)
    vpgc.attached(vlm.model).remove()
    with pytest.raises(UsageError, match=r"no layer 2\. 0 to 1"):
        vpgc.attach(vlm.model, layer=2)
    with pytest.raises(UsageError, match="unknown guidance 'none'"):
        vpgc.attach(vlm.model, guidance="none")


def test_an_encoder_decoder_is_refused() -> None:
    from transformers import T5Config

    text = T5Config(d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=2, vocab_size=64)
    with torch.device("meta"):
        model = Blip2ForConditionalGeneration(Blip2Config(text_config=text, image_token_index=7))
    with pytest.raises(UsageError, match="decoder-only"):
        vpgc.attach(model)


# ---- training and files ----


@pytest.mark.parametrize("family", ["llava", "blip-2", "instructblip", "llava-onevision"])
def test_every_tensor_moves_in_three_steps_and_first_only_reinject(family: str, vlms: Any, mixed: Path) -> None:
    vlm = vlms(family)
    vlm.model.requires_grad_(False)
    adapter = vpgc.attach(vlm.model)
    made = batch(vlm, mixed)
    start = {n: p.detach().clone() for n, p in adapter.named_parameters()}
    optimizer = torch.optim.Adam(adapter.parameters(), lr=1e-2)
    for step in range(3):
        optimizer.zero_grad()
        vlm.model(**inputs(made), labels=made["labels"]).loss.backward()
        if step == 0:
            assert {n for n, p in adapter.named_parameters() if p.grad.abs().max() > 0} == {
                "reinject.weight",
                "reinject.bias",
            }
        optimizer.step()
    assert all(not torch.equal(p, start[n]) for n, p in adapter.named_parameters())
    assert all(p.grad is None for n, p in vlm.model.named_parameters() if not n.startswith("vpgc."))
    text = batch(vlm, mixed, [2])  # nothing to look at: gradients of zero, not none
    optimizer.zero_grad()
    vlm.model(**inputs(text), labels=text["labels"]).loss.backward()
    assert adapter.reinject.weight.grad is not None and adapter.reinject.weight.grad.abs().max() == 0


@pytest.mark.parametrize("reentrant", [True, False])
def test_gradient_checkpointing_and_lora_beside_it(reentrant: bool, vlms: Any, mixed: Path) -> None:
    from peft import LoraConfig, get_peft_model

    vlm = vlms("llava")
    made = batch(vlm, mixed)

    def gradients(checkpointing: bool, lora: bool) -> list[torch.Tensor]:
        model: Any = copy.deepcopy(vlm.model).requires_grad_(False)
        if lora:
            torch.manual_seed(0)
            model = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM"))
        adapter = awake(vpgc.attach(model))
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": reentrant})
            model.enable_input_require_grads()
        model.train()
        model(**inputs(made), labels=made["labels"], use_cache=False).loss.backward()
        if lora:
            grads = {n: p.grad for n, p in model.named_parameters() if "lora_B" in n}
            assert grads and all(g is not None and g.abs().max() > 0 for g in grads.values())
        return [p.grad for p in adapter.parameters()]

    plain = gradients(False, False)
    for checkpointing, lora in ((True, False), (False, True), (True, True)):
        for a, b in zip(plain, gradients(checkpointing, lora), strict=True):
            assert torch.allclose(a, b, atol=1e-6)


def test_saved_and_loaded_it_is_the_same(vlms: Any, mixed: Path, tmp_path: Path) -> None:
    for family in ("llava", "blip-2", "instructblip"):
        vlm = vlms(family)
        given, folder = inputs(batch(vlm, mixed)), tmp_path / family
        adapter = awake(vpgc.attach(vlm.model, layer=0, guidance="shuffled"))
        with torch.no_grad():
            before = vlm.model(**given).logits
            vpgc.save(adapter, folder)
            adapter.remove()
            again = vpgc.load(vlm.model, folder)
            assert (again.layer, again.guided_by) == (0, "shuffled")
            assert torch.equal(vlm.model(**given).logits, before)
        assert sorted(p.name for p in folder.iterdir()) == ["adapter.safetensors", "config.json"]
    with pytest.raises(DataError, match="linear adapter of a llava model does not fit this instructblip model"):
        vlms("instructblip")
        vpgc.load(vlms("instructblip").model, tmp_path / "llava")
    weights = load_file(tmp_path / "llava" / "adapter.safetensors")
    save_file({n: t * torch.nan for n, t in weights.items()}, tmp_path / "llava" / "adapter.safetensors")
    with pytest.raises(DataError, match=r"is no VPG-C adapter \(.* holds what is no number"):
        vpgc.load(vlms("llava").model, tmp_path / "llava")
    (tmp_path / "llava" / "adapter.safetensors").write_bytes(b"torn")
    with pytest.raises(DataError, match=r"is no VPG-C adapter"):
        vpgc.load(vlms("llava").model, tmp_path / "llava")


def test_a_copy_of_the_model_has_its_own_adapter(vlms: Any, mixed: Path) -> None:
    vlm = vlms("llava")
    given = inputs(batch(vlm, mixed))
    vpgc.attach(vlm.model)
    with torch.no_grad():
        before = vlm.model(**given).logits
        twin = copy.deepcopy(vlm.model)
        awake(vpgc.attached(twin))
        assert not torch.allclose(twin(**given).logits, before) and torch.equal(vlm.model(**given).logits, before)


def test_in_bf16(tmp_path: Path, mixed: Path) -> None:
    vlm = load(tiny_vlm.llava(tmp_path), dtype=torch.bfloat16)
    given = inputs(batch(vlm, mixed)) | {"guidance_at": None}
    given["pixel_values"] = given["pixel_values"].bfloat16()
    with torch.no_grad():
        before = vlm.model(**{k: v for k, v in given.items() if v is not None}).logits
        adapter = vpgc.attach(vlm.model)
        assert adapter.reinject.weight.dtype == torch.float32
        assert torch.equal(vlm.model(**given).logits, before)
        awake(adapter)
        assert not torch.equal(vlm.model(**given).logits, before)
