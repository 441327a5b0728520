"""Turns a config of DAFormer, HRDA or MIC (mmseg 0.x, Python or JSON) into one of this package.

Reports what became of every value. If one cannot be mapped, NEW.py is not written and the exit status is 1. A method
that lives in code only cannot be seen in a config: the code of the old program is looked at where it lies beside OLD
or in the folder of --code, and if it has more than the published methods, that counts as not mapped.
"""
import argparse
import sys
from pathlib import Path

from mmengine.registry import init_default_scope

from mmseg_cicld.command_line import one_line_errors
from mmseg_cicld.migration import OldConfig, code_folder, droppable, find_code, migrate, read_old_config


def main() -> None:
    """Migrates."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('old', help='old config; its bases have to lie where it names them')
    parser.add_argument('-o', '--out', required=True, help='new config')
    parser.add_argument('--drop', nargs='+', default=[], metavar='KEY',
                        help='old values to do without, such as uda.my_switch or data.train.source.pipeline[3]')
    parser.add_argument('--code', metavar='DIR', help='folder of the old program (default: the one that OLD lies in)')
    parser.add_argument('--published-method', action='store_true',
                        help='migrate the published method although the code of the old program has more')
    args = parser.parse_args()
    _check_out(args)
    init_default_scope('mmseg')
    with one_line_errors():
        old = read_old_config(args.old)
        code = find_code(args.old) if args.code is None else code_folder(args.code)
    migration = migrate(old, tuple(args.drop), code, args.published_method)
    print(migration.report())
    if not migration.complete:
        sys.exit(f'error: {args.out} was not written: some values are not mapped, see the end of the report'
                 + _what_helps(old, tuple(args.drop)))
    problem = migration.problem()
    if problem is not None:
        sys.exit(f'error: {args.out} was not written: its model cannot be built ({problem})')
    try:
        Path(args.out).write_text(
            migration.text(f'Migrated from {Path(args.old).name} by tools/misc/migrate_config.py.'), encoding='utf-8')
    except OSError as error:
        sys.exit(f'error: {args.out} cannot be written ({error.strerror}): give another file with -o')
    print(f'wrote {args.out}')


def _check_out(args: argparse.Namespace) -> None:
    out = Path(args.out)
    if not out.parent.is_dir():
        sys.exit(f'error: {out}: its folder {out.parent} does not exist: make it, or give another file with -o')
    if out.is_dir() or out.suffix != '.py' or out.resolve() == Path(args.old).resolve():
        sys.exit(f'error: {out}: -o takes a new Python file (NEW.py), not a folder and not the old config')


def _what_helps(old: OldConfig, drop: tuple[str, ...]) -> str:
    can, cannot = droppable(old, drop)
    return ((f'. To do without them: --drop {" ".join((*drop, *can))}' if can else '')
            + (f'. Change in the old config, for they cannot be dropped: {", ".join(cannot)}' if cannot else ''))


if __name__ == '__main__':
    main()
