import platform

import pytest
import torch

from visift.models.precision import fast_bf16

pytestmark = pytest.mark.integration


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="knows x86 processors")
def test_a_processor_without_avx512_is_not_fast_at_bf16():
    if torch.backends.cpu.get_cpu_capability() == "AVX512":
        assert fast_bf16("cpu")
    else:
        assert not fast_bf16("cpu")


def test_an_unknown_device_takes_float32():
    assert not fast_bf16("meta")
