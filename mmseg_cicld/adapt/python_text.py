"""Writes values as readable Python, one key a line where they do not fit in one."""
from collections.abc import Mapping, Sequence

_WIDTH = 116


class Name(str):
    """A name of a variable: written as it is, without quotation marks."""


def python_text(value: object, indent: int = 0, used: int = 0) -> str:
    """Returns an expression that gives the value.

    Args:
        value: Dicts with names as keys, lists, tuples, and what ``repr`` writes.
        indent: Spaces before the lines that follow the first.
        used: Letters that stand before the expression in its line.
    """
    whole = _in_one_line(value)
    if indent + used + len(whole) <= _WIDTH or not isinstance(value, (Mapping, list, tuple)) or not value:
        return whole
    inner = ' ' * (indent + 4)
    if isinstance(value, Mapping):
        if not _keywords(value):
            parts = [f'{key!r}: {python_text(each, indent + 4, len(repr(key)) + 3)}' for key, each in value.items()]
            return _over_lines('{', parts, '}', inner, indent)
        parts = [f'{key}={python_text(each, indent + 4, len(key) + 2)}' for key, each in value.items()]
        return _over_lines('dict(', parts, ')', inner, indent)
    ends = ('[', ']') if isinstance(value, list) else ('(', ')')
    return _over_lines(ends[0], [python_text(each, indent + 4, 1) for each in value], ends[1], inner, indent)


def _over_lines(start: str, parts: Sequence[str], end: str, inner: str, indent: int) -> str:
    return start + '\n' + ''.join(f'{inner}{part},\n' for part in parts) + ' ' * indent + end


def _in_one_line(value: object) -> str:
    if isinstance(value, Name):
        return str(value)
    if isinstance(value, Mapping):
        if not _keywords(value):
            return '{' + ', '.join(f'{key!r}: {_in_one_line(each)}' for key, each in value.items()) + '}'
        return 'dict(' + ', '.join(f'{key}={_in_one_line(each)}' for key, each in value.items()) + ')'
    if isinstance(value, list):
        return '[' + ', '.join(map(_in_one_line, value)) + ']'
    if isinstance(value, tuple):
        return '(' + ', '.join(map(_in_one_line, value)) + (',)' if len(value) == 1 else ')')
    return repr(value)


def _keywords(value: Mapping) -> bool:
    return all(isinstance(key, str) and key.isidentifier() for key in value)
