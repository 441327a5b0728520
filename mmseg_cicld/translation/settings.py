"""Settings of translation from parts of a config."""
from dataclasses import fields
from typing import TypeVar

Settings = TypeVar('Settings')


def build_settings(kind: type[Settings], config: dict, key: str) -> Settings:
    """Builds a settings dataclass.

    Args:
        kind: The dataclass.
        config: Its arguments.
        key: Where they stand in the config, for errors.

    Raises:
        ValueError: If the config has a key that does not exist, or a value that is not allowed.
    """
    known = [field.name for field in fields(kind)]
    unknown = sorted(set(config) - set(known))
    if unknown:
        raise ValueError(f'{key} has no {", ".join(unknown)}; it has {", ".join(known)}')
    return kind(**config)
