"""Settings dataclasses from parts of a config."""
from collections.abc import Mapping
from dataclasses import fields
from typing import TypeVar

Settings = TypeVar('Settings')


def build_settings(kind: type[Settings], config: Mapping | None, key: str) -> Settings:
    """Builds a settings dataclass.

    Args:
        kind: The dataclass.
        config: Its arguments; None for none.
        key: Where they stand in the config, for errors.

    Raises:
        ValueError: If the config has a key that does not exist, or a value that is not allowed.
    """
    config, known = config or {}, {field.name for field in fields(kind)}
    unknown = sorted(set(config) - known)
    if unknown:
        raise ValueError(f'{key} has no {", ".join(unknown)}; it has {", ".join(sorted(known))}')
    return kind(**config)
