"""Turns a config of DAFormer, HRDA or MIC (mmseg 0.x, Python or JSON) into one of this package.

Reports what became of every value. If one cannot be mapped, NEW.py is not written and the exit status is 1.
"""
import argparse
import sys
from pathlib import Path

from mmengine.registry import init_default_scope

from mmseg_cicld.command_line import one_line_errors
from mmseg_cicld.migration import migrate, read_old_config, written_report


def main() -> None:
    """Migrates."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('old', help='old config; its bases have to lie where it names them')
    parser.add_argument('-o', '--out', required=True, help='new config')
    parser.add_argument('--drop', nargs='+', default=[], metavar='KEY',
                        help='old values to do without, such as uda.my_switch or data.train.source.pipeline[3]')
    args = parser.parse_args()
    init_default_scope('mmseg')
    with one_line_errors():
        migration = migrate(read_old_config(args.old), tuple(args.drop))
    print(written_report(migration.ledger))
    if not migration.complete:
        sys.exit(f'error: {args.out} was not written: some values are not mapped, see the end of the report. Do '
                 'without them with --drop KEY, or change the old config')
    problem = migration.problem()
    if problem is not None:
        sys.exit(f'error: {args.out} was not written: its model cannot be built ({problem})')
    Path(args.out).write_text(migration.text(f'Migrated from {Path(args.old).name} by tools/misc/migrate_config.py.'))
    print(f'wrote {args.out}')


if __name__ == '__main__':
    main()
