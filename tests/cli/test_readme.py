"""The README's commands, run as they stand there."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from visift.cli.main import app, main
from visift.models.builtin import FOLDER

pytestmark = pytest.mark.integration
README = Path(__file__).parents[2] / "README.md"


def commands() -> list[list[str]]:
    block = re.search(r"<!-- test:[^>]*-->\n```sh\n(.*?)```", README.read_text(encoding="utf-8"), re.S)
    return [shlex.split(line) for line in block[1].splitlines() if line.strip()]


@pytest.mark.skipif(not (FOLDER / "model.safetensors").exists(), reason="the shipped weights are not there")
def test_the_commands_run_in_order(tmp_path, monkeypatch, capsys):
    """In this process, which has loaded torch; the other tests of the commands, and the demo's, start processes."""
    found = commands()
    assert len(found) >= 6
    monkeypatch.chdir(tmp_path)
    for words in found:
        assert words[0] == "visift"
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code, f"{shlex.join(words)}\n{capsys.readouterr().err[-2000:]}"
    assert (tmp_path / "lists-llava" / "data.json").exists()
    assert (tmp_path / "scores" / "short" / "score.json").exists()


@pytest.mark.parametrize("page", [README, README.parent / "docs/howto.md"], ids=lambda p: p.name)
def test_every_command_and_option_of_a_page_exists(page):
    commands = get_command(app).commands
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [shlex.split(line, comments=True) for line in re.findall(r"^visift .*", text, re.M)]
    assert lines
    for _, name, *words in lines:
        known = {option for parameter in commands[name].params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known, shlex.join(words)
