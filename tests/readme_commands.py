"""Reads the commands of a Markdown page and shrinks them to seconds.

Every fenced block marked ``bash`` is a script. Comments before it, which readers of the page do not see, change it:

- ``<!-- ci: replace OLD => NEW -->`` puts NEW in place of OLD, which has to be there;
- ``<!-- ci: env NAME=VALUE -->`` sets a variable of the environment;
- ``<!-- ci: skip REASON -->`` leaves it out; only for what no test machine has.

Trainings and tests need no comment: they get the options :data:`shell_commands.SHRUNK`.
"""
import re
from dataclasses import dataclass, field
from pathlib import Path

from shell_commands import SHRUNK

SHRUNK_PROGRAMS = ('python tools/train.py', 'python tools/test.py', 'bash tools/dist_', 'mim train', 'mim test')
_MARKER = re.compile(r'<!-- ci: (replace|env|skip) (.+) -->')


@dataclass
class Block:
    """One block of commands.

    Args:
        line: Number of its first line in the page.
        script: The commands as they are written.
        replacements: Pairs of old and new text.
        env: Variables of the environment.
        skip: Why it is not run, or an empty string.
    """

    line: int
    script: str = ''
    replacements: list[tuple[str, str]] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    skip: str = ''

    def shrunk(self) -> str:
        """Returns the commands as a test runs them."""
        script = self.script.replace('\\\n', ' ')
        for old, new in self.replacements:
            assert old in script, f"line {self.line}: there is no '{old}' to replace"
            script = script.replace(old, new)
        return '\n'.join(map(_shrink, script.splitlines()))


def _shrink(command: str) -> str:
    if not command.startswith(SHRUNK_PROGRAMS):
        return command
    before, option, after = command.partition(' --cfg-options')
    return f"{before} --cfg-options{after} {' '.join(SHRUNK)}" if option else f"{command} --cfg-options {' '.join(SHRUNK)}"


def read_blocks(page: Path) -> list[Block]:
    """Returns the blocks of a page.

    Raises:
        ValueError: If commands stand in a block of another kind, or a marker is unknown or without a block.
    """
    blocks: list[Block] = []
    pending, language = Block(0), None
    for number, line in enumerate(page.read_text(encoding='utf-8').splitlines(), start=1):
        where = f'{page.name}, line {number}'
        if line.startswith('```'):
            if language is None and line[3:] in ('sh', 'shell', 'console'):
                raise ValueError(f'{where}: write ```bash')
            if language == 'bash':
                blocks.append(pending)
                pending = Block(0)
            language = (line[3:] or 'text') if language is None else None
            pending.line = number + 1
        elif language == 'bash':
            pending.script += line + '\n'
        elif language is None and 'ci:' in line:
            _apply_marker(pending, line, where)
        elif language is None and line.strip() and pending != Block(pending.line):
            raise ValueError(f'{where}: a ci comment has to stand right before its block')
    return blocks


def _apply_marker(block: Block, line: str, where: str) -> None:
    marker = _MARKER.fullmatch(line.strip())
    if marker is None:
        raise ValueError(f"{where}: '{line}' is not one of replace OLD => NEW, env NAME=VALUE, skip REASON")
    kind, text = marker.groups()
    if kind == 'replace':
        old, new = text.split(' => ')
        block.replacements.append((old, new))
    elif kind == 'env':
        name, _, value = text.partition('=')
        block.env[name] = value
    else:
        block.skip = text
