"""SAM, SAM 2 and a panoptic model through transformers, with tiny random weights in a local folder."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from visift.core.errors import DataError
from visift.core.rle import decode_rle
from visift.segment.everything import Settings
from visift.segment.segmenter import segmenter_from

pytestmark = pytest.mark.integration
PROMPTS = {"hidden_size": 16, "image_size": 64, "patch_size": 16, "mask_input_channels": 4}
DECODER = {
    "hidden_size": 16, "mlp_dim": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "iou_head_depth": 2, "iou_head_hidden_dim": 16,
}  # fmt: skip


def save_sam(folder: Path) -> None:
    from transformers import SamConfig, SamImageProcessorPil, SamModel

    vision = {
        "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 64, "patch_size": 16, "window_size": 2,
        "global_attn_indexes": [0], "output_channels": 16, "mlp_dim": 32, "num_pos_feats": 8, "initializer_range": 0.02,
    }  # fmt: skip
    SamModel(
        SamConfig(vision_config=vision, prompt_encoder_config=PROMPTS, mask_decoder_config=DECODER)
    ).save_pretrained(folder)
    SamImageProcessorPil(
        size={"longest_edge": 64}, pad_size={"height": 64, "width": 64}, mask_size={"longest_edge": 16},
        mask_pad_size={"height": 16, "width": 16},
    ).save_pretrained(folder)  # fmt: skip


def save_sam2(folder: Path) -> None:
    from transformers import Sam2Config, Sam2HieraDetConfig, Sam2Model, Sam2VisionConfig

    backbone = Sam2HieraDetConfig(
        hidden_size=8, num_attention_heads=1, blocks_per_stage=[1, 1, 2, 1], image_size=[64, 64], embed_dim_per_stage=[8, 16, 32, 64],
        num_attention_heads_per_stage=[1, 1, 2, 2], window_size_per_stage=[8, 4, 8, 4], global_attention_blocks=[3],
    )  # fmt: skip
    vision = Sam2VisionConfig(
        backbone_config=backbone, backbone_channel_list=[64, 32, 16, 8], backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]],
        fpn_hidden_size=16,
    )  # fmt: skip
    Sam2Model(
        Sam2Config(vision_config=vision, prompt_encoder_config=PROMPTS, mask_decoder_config=DECODER)
    ).save_pretrained(folder)


def save_panoptic(folder: Path) -> None:
    import torch
    from transformers import (
        Mask2FormerConfig,
        Mask2FormerForUniversalSegmentation,
        Mask2FormerImageProcessorPil,
        SwinConfig,
    )

    backbone = SwinConfig(
        embed_dim=8, depths=[1] * 4, num_heads=[1] * 4, window_size=4, image_size=32, out_features=["stage1", "stage2", "stage3", "stage4"]
    )  # fmt: skip
    names = {0: "dog", 1: "wall-other-merged"}
    model = Mask2FormerForUniversalSegmentation(
        Mask2FormerConfig(
            backbone_config=backbone, feature_size=32, mask_feature_size=32, hidden_dim=32, encoder_feedforward_dim=16, encoder_layers=1,
            decoder_layers=1, num_attention_heads=2, dim_feedforward=16, num_queries=1, id2label=names,
        )
    )  # fmt: skip
    model.class_predictor.bias.data = torch.tensor([0.0, 9.0, -9.0])  # sure of a wall; the last is "nothing"
    model.save_pretrained(folder)
    Mask2FormerImageProcessorPil(size={"height": 64, "width": 64}).save_pretrained(folder)


@pytest.fixture
def picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (48, 80, 3), dtype=np.uint8))


@pytest.mark.parametrize(("name", "save"), [("sam", save_sam), ("sam2", save_sam2)])
def test_sam(name: str, save, tmp_path: Path, picture: Image.Image) -> None:  # type: ignore[no-untyped-def]
    import torch

    torch.manual_seed(0)
    save(tmp_path / "m")
    model = segmenter_from(name, str(tmp_path / "m"), points=3)
    assert model.describe()["points"] == 3 and model.describe()["min_iou"] == 0.88
    looser = segmenter_from(name, str(tmp_path / "m"), points=3, min_stability=0.5).describe()
    assert {k for k, v in looser.items() if v != model.describe()[k]} == {"min_stability"}
    model.settings = Settings(3, min_iou=-9, min_stability=0.0)  # type: ignore[attr-defined]  # random weights are sure of nothing
    found = model(picture)
    assert found and all(decode_rle(f.rle).shape == (48, 80) for f in found)
    assert pickle.loads(pickle.dumps(model))(picture) == found
    prepared = model.prepare(picture)  # type: ignore[attr-defined]
    assert prepared.covered == ((1.0, 38 / 64) if name == "sam" else (1.0, 1.0))
    logits, iou = model.masks(prepared, np.array([[0.2, 0.3], [0.5, 0.5]]))  # type: ignore[attr-defined]
    assert logits.shape == (2, 3, 16, 16) and iou.shape == (2, 3) and logits.dtype == np.float32
    one, _ = model.masks(prepared, np.array([[0.5, 0.5]]))  # type: ignore[attr-defined]
    assert np.allclose(one[0], logits[1], atol=1e-4)  # points are asked about one by one, in whatever batch


def test_panoptic(tmp_path: Path, picture: Image.Image) -> None:
    import torch

    torch.manual_seed(0)
    save_panoptic(tmp_path / "m")
    model = segmenter_from("panoptic", str(tmp_path / "m"))
    found = model(picture)
    assert model.named and [f.category for f in found] == ["wall"]
    assert decode_rle(found[0].rle).shape == (48, 80) and found[0].score > 0.9


def test_what_is_no_such_model(tmp_path: Path, picture: Image.Image) -> None:
    save_panoptic(tmp_path / "m")
    for name in ("sam", "sam2"):
        with pytest.raises(DataError):
            segmenter_from(name, str(tmp_path / "m"), points=2)(picture)
    with pytest.raises(DataError, match="hub"):
        segmenter_from("sam", str(tmp_path / "absent")).describe()
