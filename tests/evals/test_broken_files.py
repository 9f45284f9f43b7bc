"""Files of strangers, damaged at random: scored, or refused with a message that names the file. Nothing else."""

import json
import math
import re
from pathlib import Path

import pytest
from test_demon import TF, core, predict
from test_foreign import FILES, answers_to, mme_folder, pope_files

from visift.core.errors import VisiftError
from visift.core.files import write_json, write_jsonl
from visift.core.seeds import rng
from visift.evals.score import score


def cases(folder: Path) -> dict[str, tuple[str, dict]]:
    """Every format once: name -> (task, arguments of score)."""
    found = {
        name: (name, {"references": make(folder / name)}) for name, make in FILES.items() if not (folder / name).mkdir()
    }
    for name, arguments in [(n, a) for n, (_, a) in found.items()]:
        arguments["answers"] = answers_to(folder / f"{name}.jsonl", name, arguments["references"], lambda k, q: "A")
    found["pope"] = ("pope", pope_files(folder / "pope") | {"format": "llava"})
    found["mme"] = ("mme", {"answers": mme_folder(folder / "mme"), "format": "mme-tool"})
    write_json(folder / "g.json", {"v1_0": {"model": ["gpt-4"], "score": [0.5]}})
    found["mm-vet"] = ("mm-vet", {"answers": folder / "g.json", "format": "mm-vet-grades"})
    write_jsonl(folder / "r.jsonl", [{"question_id": k, "category": "c", "tuple": [8.0, 7.5]} for k in range(3)])
    found["reviews"] = ("llava-bench-wild", {"answers": folder / "r.jsonl", "format": "llava-reviews"})
    doc = {"question_id": "1", "question": "Is there?", "answer": "yes", "image_source": "i", "category": "random"}
    write_jsonl(folder / "s.jsonl", [{"doc_id": k, "doc": doc, "filtered_resps": ["Yes"]} for k in range(3)])
    found["lmms-eval"] = ("pope", {"answers": folder / "s.jsonl", "format": "lmms-eval"})
    core(folder / "refs", "NLVR2", "multi-choice", [("True", TF)] * 2)
    predict(folder / "preds", "NLVR2", ["True", "no"], ["True"] * 2)
    found["demon"] = ("demon", {"answers": folder / "preds", "references": folder / "refs", "format": "demon"})
    return found


def damage(text: bytes, gen) -> bytes:
    """One of: a value of another type, a field less, a cut, a bit flipped, bytes that are no UTF-8, an empty file."""
    kind, at = int(gen.integers(7)), int(gen.integers(max(len(text), 1)))
    if kind == 0:
        values = list(re.finditer(rb'(?<=: )(?:"[^"]*"|-?[\d.]+|\[[^\[\]]*\])', text))
        other = [b"null", b"[]", b"{}", b"-7", b'"x"', b"1e999", b"true"][gen.integers(7)]
        m = values[gen.integers(len(values))] if values else None
        return text[: m.start()] + other + text[m.end() :] if m else text + other
    if kind == 1:
        fields = list(re.finditer(rb'"\w+": (?:"[^"]*"|-?[\d.]+), ?', text))
        m = fields[gen.integers(len(fields))] if fields else None
        return text[: m.start()] + text[m.end() :] if m else text.replace(b"\t", b" ", 1)
    if kind == 2:
        return text[:at]
    if kind == 3:
        return text[:at] + bytes([text[at] ^ (1 << gen.integers(8))]) + text[at + 1 :] if text else text
    if kind == 4:
        return text[:at] + b"\xff\xfe" + text[at:]
    return b"" if kind == 5 else text + text[: at // 2]


def mutate(folder: Path, runs: int, seed: str) -> int:
    """Damage one file after another; the number of runs that were refused."""
    found, refused = cases(folder), 0
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    owner = {
        p: [
            n
            for n, (_, a) in found.items()
            if any(isinstance(v, Path) and (p == v or v in p.parents) for v in a.values())
        ]
        for p in files
    }
    for run in range(runs):
        gen = rng("damage", seed, run)
        path = files[gen.integers(len(files))]
        before = path.read_bytes()
        path.write_bytes(damage(before, gen))
        for name in owner[path]:
            task, arguments = found[name]
            try:
                result = score(task, **arguments)
                json.dumps(result, allow_nan=False)
                assert all(math.isfinite(r["value"]) for r in result["metrics"].values() if r["value"] is not None)
            except VisiftError as e:
                assert e.where or e.remedy, f"run {run}: {e}"
                refused += 1
        path.write_bytes(before)
    return refused


def test_damaged_files_are_scored_or_refused(tmp_path):
    assert mutate(tmp_path, 150, "short") > 50


@pytest.mark.stress
def test_many_damaged_files(tmp_path):
    assert mutate(tmp_path, 6000, "long") > 1000
