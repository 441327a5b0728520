"""Writes the student or teacher of a training, or an exported segmentor, as one ONNX file from images to labels.

The file is compared with torch in onnxruntime at several sizes before it is kept; a network whose file would give other
labels is refused. Needs onnx and onnxruntime (pip install onnx onnxruntime).
"""
import argparse

from mmengine.registry import init_default_scope

from mmseg_cicld.command_line import add_config_options, load_config, one_line_errors
from mmseg_cicld.datasets import check_num_classes
from mmseg_cicld.engine import read_checkpoint
from mmseg_cicld.engine.exporting import PREFIXES, exported_segmentor
from mmseg_cicld.engine.onnx_export import export_onnx


def main() -> None:
    """Exports."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_config_options(parser)
    parser.add_argument('checkpoint', help='checkpoint of a training with this config, or of an exported segmentor')
    parser.add_argument('out', help='ONNX file to write')
    parser.add_argument('--network', choices=sorted(PREFIXES),
                        help='which network of a training (default: the one that the config evaluates, model.evaluate)')
    parser.add_argument('--size', nargs=2, type=int, metavar=('HEIGHT', 'WIDTH'),
                        help='write a file for images of this size only, which networks need whose windows or noise '
                        'depend on the size (default: a file for any size)')
    args = parser.parse_args()
    if args.size is not None and min(args.size) < 1:
        parser.error(f'--size {args.size[0]} {args.size[1]}: allowed are heights and widths from 1 on')
    with one_line_errors():
        config = load_config(parser, args)
        init_default_scope('mmseg')
        check_num_classes(config)
        checkpoint = read_checkpoint(args.checkpoint)
        _, network = exported_segmentor(config, checkpoint, args.checkpoint, args.network, keep_backbone=True)
        meta = checkpoint.get('meta', {}).get('dataset_meta') or {}
        names = {key: meta[key] for key in ('classes', 'palette') if meta.get(key) is not None}
        for line in export_onnx(network, args.out, tuple(args.size) if args.size else None, names):
            print(line)
    print(f'wrote {args.out}')


if __name__ == '__main__':
    main()
