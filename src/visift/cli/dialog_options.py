"""The options of `visift synth dialog`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from visift.sources.source import Source

PANEL = "dialog"


@dataclass(frozen=True)
class DialogOptions:
    questions: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=FILE[,FILE]",
            help="A public question file about COCO pictures (repeatable): coco-qa, vqav2, ok-vqa, a-okvqa, vqa-e, vsr, "
            "tallyqa, vg-qa, vg-regions, image-paragraphs, st-vqa, llava, …",
            rich_help_panel=PANEL,
        ),
    ] = None
    request: Annotated[
        str | None,
        typer.Option(help="Where the form is asked for: every (default), first or never.", rich_help_panel=PANEL),
    ] = None
    rounds: Annotated[
        int | None, typer.Option(help="Most rounds of a dialogue (default 12).", rich_help_panel=PANEL)
    ] = None
    tokens: Annotated[
        int | None, typer.Option(help="Most tokens of a dialogue, estimated (default 2048).", rich_help_panel=PANEL)
    ] = None
    switch: Annotated[
        float | None,
        typer.Option(help="Share of neighbouring rounds that differ in form (default 1).", rich_help_panel=PANEL),
    ] = None
    per_form: Annotated[
        int | None, typer.Option(help="Most rule-made rounds of each form (default 2).", rich_help_panel=PANEL)
    ] = None

    def given(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name != "questions"}

    def source(self, source: Source) -> Source:
        """The source with its question files. Raises UsageError for one that is misnamed."""
        if not self.questions:
            return source
        from visift.sources.question_files import QuestionFile, WithQuestions

        return WithQuestions(source, [QuestionFile.parse(text) for text in self.questions])
