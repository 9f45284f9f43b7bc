"""Opening an ONNX file with onnxruntime, which is an extra."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from visift.core.errors import DataError

CPU = ("CPUExecutionProvider",)


def open_session(path: Path, providers: Sequence[str] = CPU, threads: int = 0) -> Any:
    """An `onnxruntime.InferenceSession`; `threads` 0 is its own choice. Raises DataError for a file that it cannot load."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # other workers need the cores
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=list(providers))
    except Exception as e:  # its errors share no other base
        first = str(e).strip().splitlines()[0][:200] if str(e).strip() else type(e).__name__
        raise DataError(f"cannot be loaded ({first})", where=path, remedy="fetch the file again") from e
