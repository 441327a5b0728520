"""Results of items as files, each there whole or not at all. Nothing here loads torch."""
import json
import math
import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Setting:
    """How a report is made: the device, and whether networks and images are tiny."""

    device: str
    small: bool

    @property
    def cuda(self) -> bool:
        """Whether there is a GPU."""
        return self.device == 'cuda'


def record_file(out: Path, name: str) -> Path:
    """Returns where the result of an item lies."""
    return out / 'items' / f'{name}.json'


def read_records(out: Path) -> dict[str, dict]:
    """Returns the results in a folder by item."""
    return {path.stem: json.loads(path.read_text(encoding='utf-8')) for path in sorted((out / 'items').glob('[!.]*.json'))}


def write_json(path: Path, content: dict) -> None:
    """Writes a file that is there whole or not at all; what is no finite number becomes null."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    temporary.write_text(json.dumps(_finite(content), indent=1) + '\n', encoding='utf-8')
    os.replace(temporary, path)


def _finite(content: object) -> object:
    if isinstance(content, dict):
        return {str(key): _finite(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
