"""Measures on a GPU what no CPU can show, an item after the other, and writes one JSON and one page of all items so far.

Each item runs in a process of its own, with a time limit; its result lies in OUT/items, what it printed in OUT/logs. A
call ends when its minutes are over, or is killed: the same command again does what is missing. Items that failed are
named, and left alone unless --retry is given.
"""
import argparse
import signal
import sys
import time
from pathlib import Path

from gpu_items.aims import judged
from gpu_items.listing import ITEMS, Item
from gpu_items.page import markdown
from gpu_items.processes import run_in_process
from gpu_items.records import Setting, read_records, write_json


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog='gpu_report', description=__doc__)
    parser.add_argument('out', type=Path, metavar='OUT', help='folder of the report; one belongs to one machine')
    parser.add_argument('--minutes', type=float, default=9, help='how long this call may take (default: %(default)s)')
    parser.add_argument('--retry', action='store_true', help='run items that failed once more')
    parser.add_argument('--items', nargs='+', metavar='NAME', choices=[item.name for item in ITEMS],
                        help='run these alone, in the order of the list (default: all)')
    parser.add_argument('--device', choices=['cuda', 'cpu'], default='cuda',
                        help='cpu replaces what only a GPU has, to try the report itself (default: %(default)s)')
    parser.add_argument('--small', action='store_true', help='tiny networks and images, to try the report itself')
    args = parser.parse_args()
    args.setting = Setting(args.device, args.small)
    others = {name for name, record in read_records(args.out).items() if record['setting'] != vars(args.setting)}
    if others:
        parser.error(f'{args.out} holds {len(others)} items of another --device or --small: give another OUT')
    return args


def run(items: list[Item], out: Path, setting: Setting, minutes: float, retry: bool = False) -> None:
    """Runs what is missing and fits into the time, the most important first, and reports after each item."""
    end = time.monotonic() + 60 * minutes
    todo = missing(items, out, retry)
    write_report(items, out)
    for number, item in enumerate(todo, 1):
        left = end - time.monotonic()
        if item.seconds > left:
            print(f'[{number}/{len(todo)}] {item.name}: takes about {item.seconds} s, {left:.0f} s are left: next call')
            continue
        print(f'[{number}/{len(todo)}] {item.name}, about {item.seconds} s: ', end='', flush=True)
        record = run_in_process(item, out, setting, left)
        print('cut off by the end of the call' if record is None
              else f'{record["status"]}, {record["seconds"]:.0f} s {record.get("reason", "")}', flush=True)
        write_report(items, out)


def missing(items: list[Item], out: Path, retry: bool = False) -> list[Item]:
    """Returns the items without a result, with ``retry`` also those without a good one."""
    records = read_records(out)
    return [item for item in items if item.name not in records or (retry and records[item.name]['status'] != 'ok')]


def write_report(items: list[Item], out: Path) -> None:
    """Writes gpu_report.json and gpu_report.md from the items in a folder."""
    records = read_records(out)
    report = dict(rows=judged(records, [item.name for item in items]), items=records,
                  remaining={item.name: item.seconds for item in items if item.name not in records})
    write_json(out / 'gpu_report.json', report)
    (out / 'gpu_report.md').write_text(markdown(report), encoding='utf-8')


def main() -> None:
    """Runs, reports, and says what remains."""
    args = parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the item's process is ended too
    chosen = [item for item in ITEMS if args.items is None or item.name in args.items]
    run(chosen, args.out, args.setting, args.minutes, args.retry)
    write_report(ITEMS, args.out)
    rest = missing(chosen, args.out)
    bad = {name: record['status'] for name, record in read_records(args.out).items() if record['status'] != 'ok'}
    print(f'{args.out / "gpu_report.md"}: {len(chosen) - len(rest)} of {len(chosen)} items are done'
          + (f'; not well: {", ".join(f"{name} ({status})" for name, status in bad.items())} (--retry)' if bad else ''))
    if rest:
        print(f'{len(rest)} remain, about {sum(item.seconds for item in rest)} s: run the same command again')


if __name__ == '__main__':
    main()
