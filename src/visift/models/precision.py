"""Which number format a device computes in fast."""

from __future__ import annotations

import torch


def fast_bf16(device: str | torch.device) -> bool:
    """Whether bf16 products are faster than float32 ones there: GPUs that have them, CPUs from AVX-512 on.

    A CPU without (AVX2 only, say) still computes bf16, ten times slower than float32 (docs/notebook.md).
    """
    kind = torch.device(device).type
    if kind == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if kind == "cpu":
        return torch.backends.mkldnn.is_available() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return False
