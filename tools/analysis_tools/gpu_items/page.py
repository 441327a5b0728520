"""The page of a GPU report, in Markdown."""
from collections import Counter
from itertools import groupby


def markdown(report: dict) -> str:
    """Writes the page.

    Args:
        report: ``rows`` with ``item``, ``figure``, ``value``, ``aim`` and ``verdict``; the records of the ``items``; and
            the ``remaining`` ones with their expected seconds.
    """
    items, rows = report['items'], report['rows']
    verdicts = Counter(row['verdict'] for row in rows if row['verdict'])
    parts = ['# GPU report', *environments(items),
             f'Aims: {verdicts["ok"]} ok, {verdicts["missed"]} missed, {verdicts["not run"]} not run. '
             f'Items: {len(items)} done, {len(report["remaining"])} remain.']
    missed = [row for row in rows if row['verdict'] == 'missed']
    if missed:
        parts += ['## Missed', table(missed, with_item=True)]
    parts.append('## Figures')
    for item, own in groupby(rows, key=lambda row: row['item']):
        parts += [f'### {item}', table(list(own))]
    for name, record in items.items():
        if record['status'] != 'ok':
            parts += [f'### {name}: {record["status"]}', record.get('reason', '')]
            parts += ['```\n' + '\n'.join(record['lines']) + '\n```'] if record.get('lines') else []
    if report['remaining']:
        total = sum(report['remaining'].values())
        parts += [f'## Remaining, about {total} s', ', '.join(f'{name} ({seconds} s)'
                                                              for name, seconds in report['remaining'].items())]
    return '\n\n'.join(parts) + '\n'


def environments(items: dict[str, dict]) -> list[str]:
    """Names card, driver, versions and commit, once for each set that occurs."""
    found = {', '.join(f'{key} {value}' for key, value in sorted(record['environment'].items())): record['setting']
             for record in items.values() if record.get('environment')}
    return [f'{line}{"; tiny networks and images: the figures mean nothing" if setting["small"] else ""}.'
            for line, setting in found.items()]


def table(rows: list[dict], with_item: bool = False) -> str:
    """Lays rows out as a table."""
    keys = ['item'] * with_item + ['figure', 'value', 'aim', 'verdict']
    heads = ['| ' + ' | '.join('measured' if key == 'value' else key for key in keys) + ' |', '|---' * len(keys) + '|']
    return '\n'.join(heads + ['| ' + ' | '.join(_cell(row[key]) for key in keys) + ' |' for row in rows])


def _cell(value: object) -> str:
    if value is None:
        return 'none'
    return f'{value:.4g}' if isinstance(value, float) else str(value).replace('|', '/')
