"""Ids and loss mask over real template shapes: what is learnt is the answers and their ends, pictures stay where they are."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
import tiny_vlm

from visift.core.errors import DataError
from visift.core.types import Conversation, Part, Picture, Provenance, Turn, assistant, user
from visift.models import Renderer, load
from visift.models.load import VICUNA

pytestmark = pytest.mark.integration

CHATML_PLAIN = (  # no generation marks, content is a string, a default system prompt is injected
    "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are helpful.<|im_end|>\n' }}{% endif %}"
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA2 = (  # trims, folds the system prompt into the first question, roles must alternate
    "{% if messages[0]['role'] == 'system' %}{% set system = '<<SYS>>\n' + messages[0]['content'] + '\n<</SYS>>\n\n' %}"
    "{% set messages = messages[1:] %}{% else %}{% set system = '' %}{% endif %}"
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}"
    "{% if m['role'] == 'user' %}{{ bos_token + '[INST] ' + (system if loop.first else '') + m['content'].strip() + ' [/INST]' }}"
    "{% else %}{{ ' ' + m['content'].strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)
GEMMA = (  # other role names, trims, no system role
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{{ '<start_of_turn>' + ('model' if m['role'] == 'assistant' else m['role']) + '\n' }}"
    "{% if m['content'] is string %}{{ m['content'] | trim }}{% else %}{% for p in m['content'] %}"
    "{% if p['type'] == 'image' %}{{ '<image>' }}{% else %}{{ p['text'] | trim }}{% endif %}{% endfor %}{% endif %}"
    "{{ '<end_of_turn>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
LLAVA_HF = (  # gathers pictures in front of each turn and never ends an answer
    "{% for m in messages %}{% if m['role'] != 'system' %}{{ m['role'].upper() + ': ' }}{% endif %}"
    "{% for c in m['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\n' }}{% endfor %}"
    "{% for c in m['content'] | selectattr('type', 'equalto', 'text') %}{% if m['role'] == 'assistant' %}"
    "{% generation %}{{ c['text'] + ' ' }}{% endgeneration %}{% else %}{{ c['text'] + ' ' }}{% endif %}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
TEMPLATES = {
    "chatml-generation": (tiny_vlm.CHATML, "<|im_end|>"), "chatml-plain": (CHATML_PLAIN, "<|im_end|>"),
    "llama-2": (LLAMA2, " </s>"), "gemma": (GEMMA, "<end_of_turn>"), "llava-hf": (LLAVA_HF, "</s>"), "vicuna": (VICUNA, "</s>"),
}  # fmt: skip
IMAGE = "<image>"


@pytest.fixture(scope="module")
def renderers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Renderer]:
    folder = tiny_vlm.llava(tmp_path_factory.mktemp("llava"))
    made = {}
    for name, (template, _) in TEMPLATES.items():
        vlm = load(folder)
        vlm.chat_template = template
        made[name] = Renderer(vlm)
    return made


def conversation(*turns: Turn) -> Conversation:
    pictures = max([p.image + 1 for t in turns for p in t.parts if p.image is not None], default=0)
    return Conversation("c", tuple(Picture(f"{k}.jpg") for k in range(pictures)), turns, Provenance("test"))


def learnt(renderer: Renderer, c: Conversation) -> str:
    row = renderer.row(c)
    return renderer.tokenizer.decode([i for i, m in zip(row.input_ids, row.loss_mask, strict=True) if m])


text = st.text(st.sampled_from("abc 12.\n?é鱼"), min_size=1, max_size=12).filter(lambda t: t.strip() == t and t)


@st.composite
def conversations(draw: st.DrawFn) -> Conversation:
    """1-3 rounds; pictures anywhere in the questions, several in one, also none at all; some answers not learnt."""
    turns, pictures = [], 0
    rounds = draw(st.integers(1, 3))
    for k in range(rounds):
        parts: list[Part] = []
        for _ in range(draw(st.integers(0, 2))):
            parts.append(Part(image=pictures))
            pictures += 1
            if draw(st.booleans()):
                parts.append(Part(text=draw(text)))
        parts.append(Part(text=draw(text)))
        turns += [Turn("user", tuple(parts)), assistant(draw(text), train=k == rounds - 1 or draw(st.booleans()))]
    return conversation(*turns)


@pytest.mark.parametrize("name", TEMPLATES)
@settings(max_examples=40, deadline=None)
@given(c=conversations())
def test_what_is_learnt_is_the_answers_and_their_ends(
    renderers: dict[str, Renderer], name: str, c: Conversation
) -> None:
    end = TEMPLATES[name][1]
    space = (
        " " if name in ("llama-2", "llava-hf", "vicuna") else ""
    )  # the blank before the answer is part of its first token
    wanted = "".join(t.text + end for t in c.turns if t.role == "assistant" and t.train)
    found = learnt(renderers[name], c)
    assert found.replace(" ", "") == wanted.replace(" ", "")
    first = next(t.text for t in c.turns if t.role == "assistant" and t.train)
    assert found.startswith((first, space + first))


@pytest.mark.parametrize("name", TEMPLATES)
@settings(max_examples=40, deadline=None)
@given(c=conversations())
def test_pictures_stay_between_the_texts_they_were_put_between(
    renderers: dict[str, Renderer], name: str, c: Conversation
) -> None:
    renderer = renderers[name]
    row = renderer.row(c)
    n = renderer.family.tokens
    assert row.slots == [n] * len(c.images)
    shown = renderer.tokenizer.decode(row.input_ids)
    at = 0
    for part in (p for t in c.turns for p in t.parts):
        wanted = IMAGE * n if part.image is not None else part.text
        at = shown.index(wanted, at) + len(wanted)
    assert shown.count(IMAGE) == n * len(c.images)


@pytest.mark.parametrize("name", ["chatml-generation", "chatml-plain", "llama-2", "gemma", "vicuna"])
@settings(max_examples=40, deadline=None)
@given(c=conversations())
def test_ids_are_those_of_the_template_itself(renderers: dict[str, Renderer], name: str, c: Conversation) -> None:
    """The independent way: run the template on the real texts, tokenise, expand."""
    renderer = renderers[name]
    structured = name in ("chatml-generation", "gemma")
    mark = IMAGE + "\n"
    messages = [
        {"role": t.role, "content": [{"type": "image"} if p.text is None else {"type": "text", "text": p.text} for p in t.parts]
         if structured else "".join(mark if p.text is None else p.text for p in t.parts)}
        for t in c.turns
    ]  # fmt: skip
    tokenizer = renderer.tokenizer
    rendered = tokenizer.apply_chat_template(messages, chat_template=renderer.template, tokenize=False)
    ids = tokenizer(rendered.replace(IMAGE, IMAGE * renderer.family.tokens), add_special_tokens=False).input_ids
    assert renderer.row(c).input_ids == ids


@pytest.mark.parametrize("name", TEMPLATES)
@settings(max_examples=30, deadline=None)
@given(question=text, reply=text)
def test_the_prompt_is_the_beginning_of_the_row(
    renderers: dict[str, Renderer], name: str, question: str, reply: str
) -> None:
    renderer = renderers[name]
    c = conversation(user(0, question), assistant(reply))
    prompt, row = renderer.prompt(c), renderer.row(c)
    assert row.input_ids[: len(prompt.input_ids)] == prompt.input_ids
    assert not any(row.loss_mask[: len(prompt.input_ids)])
    assert all(row.loss_mask[len(prompt.input_ids) : len(prompt.input_ids) + 1])


def test_templates_that_trim_trim_the_texts(renderers: dict[str, Renderer]) -> None:
    c = conversation(user("  what?\n"), assistant(" yes\n"))
    assert "user\nwhat?<end" in renderers["gemma"].tokenizer.decode(renderers["gemma"].row(c).input_ids)
    assert learnt(renderers["gemma"], c) == "yes<end_of_turn>"
    assert learnt(renderers["chatml-generation"], c) == " yes\n<|im_end|>"


def test_a_system_turn_and_an_injected_one(renderers: dict[str, Renderer]) -> None:
    with_system = conversation(Turn("system", (Part(text="Be brief."),)), user("a"), assistant("b"))
    plain = renderers["chatml-plain"]
    assert plain.tokenizer.decode(plain.row(with_system).input_ids).startswith(
        "<|im_start|>system\nBe brief.<|im_end|>"
    )
    assert "You are helpful." in plain.tokenizer.decode(plain.row(conversation(user("a"), assistant("b"))).input_ids)
    assert "<<SYS>>\nBe brief." in renderers["llama-2"].tokenizer.decode(
        renderers["llama-2"].row(with_system).input_ids
    )
    with pytest.raises(DataError, match=r"conversation c: .*System role not supported"):
        renderers["gemma"].row(with_system)


def test_roles_that_the_template_refuses_are_named(renderers: dict[str, Renderer]) -> None:
    with pytest.raises(DataError, match=r"conversation c: .*roles must alternate"):
        renderers["llama-2"].row(conversation(user("a"), user("b"), assistant("c")))


def test_a_row_in_which_nothing_is_learnt_is_an_error(renderers: dict[str, Renderer]) -> None:
    with pytest.raises(DataError, match=r"conversation c: no token of it would be learnt"):
        renderers["chatml-plain"].row(conversation(user("a"), assistant("b", train=False)))


@pytest.mark.parametrize("control", ["<image>", "<|im_end|>", "</s>"])
def test_control_tokens_in_a_text_are_refused(renderers: dict[str, Renderer], control: str) -> None:
    with pytest.raises(DataError, match="holds the control token"):
        renderers["chatml-plain"].row(conversation(user(f"a {control} b"), assistant("c")))


def test_generation_stops_at_the_templates_own_end(renderers: dict[str, Renderer]) -> None:
    ids = {name: renderers[name].tokenizer.convert_ids_to_tokens(renderers[name].end_ids) for name in TEMPLATES}
    assert ids["chatml-plain"] == ids["chatml-generation"] == ["</s>", "<|im_end|>"]
    assert ids["gemma"] == ["</s>", "<end_of_turn>"]
    assert ids["llava-hf"] == ids["vicuna"] == ids["llama-2"] == ["</s>"]
