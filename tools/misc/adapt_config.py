"""Turns a config of MMSegmentation 1.x into one that adapts its network to unlabelled images.

The training data of the config become the labelled source. The new config needs no other file.
"""
import argparse
from pathlib import Path

from mmengine.registry import init_default_scope

from mmseg_cicld.command_line import add_config_options, load_config, one_line_errors
from mmseg_cicld.migration.stock_config import METHODS, adapt_stock_config
from mmseg_cicld.migration.writing import write_config


def main() -> None:
    """Writes the config."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_config_options(parser)
    parser.add_argument('--target', required=True, metavar='IMAGES', help='folder of images to adapt to, no labels')
    parser.add_argument('--method', choices=METHODS, default='dacs', help='of configs/_base_/uda (default: dacs)')
    parser.add_argument('-o', '--out', required=True, help='new config')
    args = parser.parse_args()
    with one_line_errors():
        config = load_config(parser, args)
        init_default_scope('mmseg')
        settings = adapt_stock_config(config, args.target, args.method)
    header = f'{Path(args.config).stem}, adapted to {args.target} by {args.method} (tools/misc/adapt_config.py).'
    Path(args.out).parent.mkdir(parents=True, exist_ok=True)
    Path(args.out).write_text(write_config(settings, {}, header), encoding='utf-8')
    print(f'wrote {args.out}')


if __name__ == '__main__':
    main()
