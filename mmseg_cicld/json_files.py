"""Small files that are there complete or not at all."""
import json
import math
from pathlib import Path
from typing import Any

from .atomic_files import replacing


def write_json(path: Path, content: object) -> None:
    """Writes JSON; NaN, which JSON does not have, becomes null."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(_without_nan(content), indent=2, allow_nan=False) + '\n', encoding='utf-8')


def read_json(path: Path, default: Any) -> Any:
    """Reads JSON, or gives ``default`` if there is no such file."""
    return json.loads(path.read_text(encoding='utf-8')) if path.is_file() else default


def _without_nan(content: object) -> object:
    if isinstance(content, dict):
        return {key: _without_nan(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_without_nan(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
