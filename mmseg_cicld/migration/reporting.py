"""The report of a migration."""
from .ledger import DROPPED, MAPPED, UNMAPPED, Ledger

_ARROW = {MAPPED: ' -> ', DROPPED: ': ', UNMAPPED: ': '}


def written_report(ledger: Ledger) -> str:
    """Writes an entry a line, what is not mapped last."""
    lines = []
    for kind in (MAPPED, DROPPED, UNMAPPED):
        entries = ledger.of_kind(kind)
        lines.append(f'{kind} ({len(entries)})')
        lines += [f'  {entry.path}{_ARROW[kind]}{entry.note}' for entry in entries]
    return '\n'.join(lines)
