"""VPG-C on any Hugging Face VLM: half-way up, the prompt's last token asks every picture again (papers.md §B.2).

    adapter = vpgc.attach(model)            # in place; the logits do not change by a bit
    adapter.census()                        # parameters by part
    vpgc.save(adapter, folder); adapter.remove(); vpgc.load(model, folder)

Training gives the guidance token by labels: the token before a row's first learnt one. It has seen nothing of what is
learnt, so nothing leaks; one row trains one answer, as inference will ask for it.
"""

from visift.models.vpgc.adapter import Adapter
from visift.models.vpgc.attachment import attach, attached, guided, load, save
from visift.models.vpgc.places import guidance_places

__all__ = ["Adapter", "attach", "attached", "guidance_places", "guided", "load", "save"]
