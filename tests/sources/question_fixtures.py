"""Small files in the formats that question sets are published in, written here; picture 9 is COCO's, 77 is another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

NAME = "COCO_train2014_000000000009.jpg"
GENOME = [
    {"image_id": 1, "coco_id": 9, "width": 400, "height": 200, "url": "https://x/1.jpg", "flickr_id": None},
    {"image_id": 2, "coco_id": None, "width": 400, "height": 200, "url": "https://x/2.jpg", "flickr_id": 5},
]


def vqa(answers: dict[str, Any]) -> tuple[Any, Any]:
    """Annotations and questions of VQA's layout: two questions on picture 9, one on 77."""
    asked = [(9, 90, "Is the food hot?"), (9, 91, "What is green?"), (77, 770, "Who is it?")]
    head = {"info": {"version": "2.0"}, "license": {"name": "CC BY"}, "data_type": "mscoco"}
    questions = [{"image_id": i, "question": q, "question_id": n} for i, n, q in asked]
    said = {90: "yes", 91: "broccoli", 770: "a man"}
    rows = [
        {"question_type": "what", "image_id": i, "question_id": n, "answer_type": "other",
         "answers": [{"answer": a, "answer_confidence": "yes", "answer_id": k} for k, a in enumerate([said[n], "x", said[n]], 1)], **answers.get(str(n), {})}
        for i, n, _ in asked
    ]  # fmt: skip
    return {**head, "annotations": rows}, {**head, "task_type": "Open-Ended", "questions": questions}


CONTENT: dict[str, list[Any]] = {
    "vqav2": [*vqa({"90": {"multiple_choice_answer": "yes"}, "91": {"multiple_choice_answer": "broccoli"}, "770": {"multiple_choice_answer": "a man"}})],
    "ok-vqa": [*vqa({})],
    "a-okvqa": [[
        {"split": "train", "image_id": 9, "question_id": "22M", "question": "What is the green thing?", "choices": ["kale", "broccoli", "pea", "mint"],
         "correct_choice_idx": 1, "direct_answers": ["broccoli"] * 10, "difficult_direct_answer": False,
         "rationales": ["It is green.", "The green thing looks like a small tree", "Broccoli."]},
        {"split": "train", "image_id": 77, "question_id": "23M", "question": "q", "choices": ["a", "b"], "correct_choice_idx": 0, "rationales": ["c"]},
    ]],
    "vqa-e": [[{"img_id": 9, "question": "Is this a meal ?", "question_type": "is this", "answer_type": "yes/no", "answers": ["yes"] * 10,
                "multiple_choice_answer": "yes", "file_name": NAME, "explanation": ["a lunch box filled with food .", 0.71]}]],
    "tallyqa": [[{"image": f"train2014/{NAME}", "answer": 2, "data_source": "amt", "question": "How many boxes are there?", "image_id": 9, "question_id": 1},
                 {"image": "VG_100K_2/2405722.jpg", "answer": 3, "data_source": "imported_genome", "question": "How many dogs?", "image_id": 2405722, "question_id": 2}]],
    "vg-qa": [[{"id": 1, "qas": [{"qa_id": 5, "image_id": 1, "question": "What color is the box?", "answer": "Pink.", "a_objects": [], "q_objects": []}]},
               {"id": 2, "qas": [{"qa_id": 6, "image_id": 2, "question": "Where?", "answer": "Here."}]}], GENOME],
    "vg-regions": [[{"id": 1, "regions": [
        {"region_id": 11, "image_id": 1, "phrase": "a pink lunch box", "x": 40, "y": 20, "width": 160, "height": 100},
        {"region_id": 12, "image_id": 1, "phrase": "green broccoli.", "x": 0, "y": 0, "width": 40, "height": 40},
        {"region_id": 14, "image_id": 1, "phrase": "nothing", "x": 500, "y": 0, "width": 40, "height": 40}]}], GENOME],
    "image-paragraphs": [[{"url": "https://x/1.jpg", "image_id": 1, "paragraph": " A pink box holds food. There is broccoli in one part, and bread with nuts in another part."}], GENOME],
    "st-vqa": [{"task": 3, "data": [
        {"question_id": 0, "file_path": f"coco-text/{NAME}", "file_name": NAME, "dataset": "coco-text", "question": "What does the label say?", "answers": ["fresh", "Fresh"]},
        {"question_id": 1, "file_path": "ILSVRC/n0.jpg", "dataset": "imagenet", "question": "?", "answers": ["x"]}]}],
    "llava": [[{"id": "000000000009", "image": "coco/train2017/000000000009.jpg", "conversations": [
        {"from": "human", "value": "<image>\nWhat is it?"}, {"from": "gpt", "value": "It is a lunch box."},
        {"from": "human", "value": "What colour is it?"}, {"from": "gpt", "value": "It is pink."}]},
        {"id": "x", "image": "ocr_vqa/images/140.jpg", "conversations": [{"from": "human", "value": "?"}, {"from": "gpt", "value": "a"}]}]],
}  # fmt: skip
VSR = [
    {"image": "000000000009.jpg", "image_link": "http://images.cocodataset.org/train2017/000000000009.jpg", "caption": "The bowl is left of the cake.", "label": 0, "relation": "left of"},
    {"image": "000000000077.jpg", "caption": "The cat is in the bag.", "label": 1},
]  # fmt: skip
# what picture 9 is asked: question, answer, form
EXPECTED: dict[str, list[tuple[str, str, str]]] = {
    "coco-qa": [("What is the color of the box?", "pink", "phrase"), ("How many boxes are there?", "two", "phrase")],
    "vqav2": [("Is the food hot?", "yes", "yes/no"), ("What is green?", "broccoli", "phrase")],
    "ok-vqa": [("Is the food hot?", "yes", "yes/no"), ("What is green?", "broccoli", "phrase")],
    "a-okvqa": [("What is the green thing?\nA. kale\nB. broccoli\nC. pea\nD. mint", "B. The green thing looks like a small tree.", "letter + reason")],
    "vqa-e": [("Is this a meal?", "Yes. A lunch box filled with food.", "phrase + reason")],
    "vsr": [("Is this true of the picture? The bowl is left of the cake.", "no", "yes/no")],
    "tallyqa": [("How many boxes are there?", "2", "number")],
    "vg-qa": [("What color is the box?", "Pink", "phrase")],
    "vg-regions": [("Where in the picture do you see this: a pink lunch box?", "[0.10, 0.10, 0.50, 0.60]", "coordinates"),
                   ("What is in the region [0.00, 0.00, 0.10, 0.20]?", "green broccoli", "phrase")],
    "image-paragraphs": [("Describe the picture in detail.", "A pink box holds food. There is broccoli in one part, and bread with nuts in another part.", "paragraph")],
    "st-vqa": [("What does the label say?", "fresh", "phrase")],
    "llava": [("What is it?", "It is a lunch box.", ""), ("What colour is it?", "It is pink.", "")],
}  # fmt: skip


def write(folder: Path) -> dict[str, str]:
    """Write all of them; name -> `NAME=FILE[,FILE]`."""
    folder.mkdir(exist_ok=True)
    given = {}
    for name, contents in CONTENT.items():
        paths = [folder / f"{name}-{k}.json" for k in range(len(contents))]
        for path, content in zip(paths, contents, strict=True):
            path.write_text(json.dumps(content))
        given[name] = f"{name}={','.join(map(str, paths))}"
    (folder / "vsr.jsonl").write_text("".join(json.dumps(r) + "\n" for r in VSR))
    given["vsr"] = f"vsr={folder / 'vsr.jsonl'}"
    lines = {
        "img_ids": "9\n77\n9\n",
        "questions": "what is the color of the box\nwho is it\nhow many boxes are there\n",
        "answers": "pink\nman\ntwo\n",
        "types": "2\n0\n1\n",
    }
    (folder / "cocoqa").mkdir(exist_ok=True)
    for name, text in lines.items():
        (folder / "cocoqa" / f"{name}.txt").write_text(text)
    return given | {"coco-qa": f"coco-qa={folder / 'cocoqa'}"}
