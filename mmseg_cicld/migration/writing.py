"""Writes a config as a Python file that people can read and change."""
import math
from typing import Any

WIDTH = 120


class Name(str):
    """A variable of the written file, in place of its value."""


def write_config(settings: dict, sections: dict[str, str], header: str) -> str:
    """Writes settings in their order.

    Args:
        settings: Name -> value.
        sections: Name of a setting -> comment that stands before it.
        header: First line, a comment.
    """
    lines = [f'# {header}']
    for name, value in settings.items():
        if name in sections:
            lines += ['', *(f'# {line}' for line in sections[name].splitlines())]
        lines.append(f'{name} = {_written(value, 0, len(name) + 3)}')
    return '\n'.join(lines) + '\n'


def _written(value: Any, indent: int, used: int) -> str:
    """Writes a value in one line if it fits, else an entry a line.

    Args:
        value: The value.
        indent: Columns before its first line.
        used: Columns that are taken in its first line, apart from ``indent``.
    """
    line = _one_line(value)
    if indent + used + len(line) < WIDTH or not isinstance(value, (dict, list, tuple)) or not value:
        return line
    inner = ' ' * (indent + 4)
    if isinstance(value, dict) and _are_keywords(value):
        entries = [f'{inner}{key}={_written(entry, indent + 4, len(key) + 1)}' for key, entry in value.items()]
        return 'dict(\n' + ',\n'.join(entries) + ')'
    if isinstance(value, dict):
        entries = [f'{inner}{key!r}: {_written(entry, indent + 4, len(repr(key)) + 2)}' for key, entry in value.items()]
        return '{\n' + ',\n'.join(entries) + '}'
    brackets = '[]' if isinstance(value, list) else '()'
    entries = [f'{inner}{_written(entry, indent + 4, 0)}' for entry in value]
    return f'{brackets[0]}\n' + ',\n'.join(entries) + f'\n{" " * indent}{brackets[1]}'


def _one_line(value: Any) -> str:
    if isinstance(value, Name):
        return str(value)
    if isinstance(value, dict) and _are_keywords(value):
        return f'dict({", ".join(f"{key}={_one_line(entry)}" for key, entry in value.items())})'
    if isinstance(value, dict):
        return '{' + ', '.join(f'{key!r}: {_one_line(entry)}' for key, entry in value.items()) + '}'
    if isinstance(value, list):
        return f'[{", ".join(map(_one_line, value))}]'
    if isinstance(value, tuple):
        return f'({", ".join(map(_one_line, value))}{"," if len(value) == 1 else ""})'
    return f"float('{value}')" if isinstance(value, float) and not math.isfinite(value) else repr(value)


def _are_keywords(value: dict) -> bool:
    return all(isinstance(key, str) and key.isidentifier() for key in value)
