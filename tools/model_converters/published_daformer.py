"""Turns a checkpoint of the published DAFormer training into a plain mmseg config with weights.

The config says which network the checkpoint holds, for example that of
configs/daformer/daformer_mit-b5_1xb2-40k_gta2cityscapes-512x512.py. Every tensor has to find its place in it.
"""
import argparse

from mmengine.registry import init_default_scope

from mmseg_cicld.command_line import add_config_options, load_config, one_line_errors
from mmseg_cicld.datasets import check_num_classes
from mmseg_cicld.datasets.class_count import dataset_classes
from mmseg_cicld.engine import CheckpointError, read_checkpoint
from mmseg_cicld.engine.exporting import (PUBLISHED_PREFIXES, check_weights_fit, plain_config,
                                          select_published_network, write_segmentor)
from mmseg_cicld.models.checkpoint_names import CheckpointNameError


def main() -> None:
    """Converts."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_config_options(parser)
    parser.add_argument('checkpoint', help='published training checkpoint')
    parser.add_argument('out', help='output folder')
    parser.add_argument('--network', choices=sorted(PUBLISHED_PREFIXES), default='student')
    parser.add_argument('--allow-unsafe-checkpoint', action='store_true',
                        help='read a checkpoint that holds objects, which can run any code; only for files you trust')
    args = parser.parse_args()
    with one_line_errors():
        config = load_config(parser, args)
        init_default_scope('mmseg')
        check_num_classes(config)
        checkpoint = read_checkpoint(args.checkpoint, allow_unsafe=args.allow_unsafe_checkpoint)
        try:
            state = select_published_network(checkpoint.get('state_dict', checkpoint), args.network, args.checkpoint)
        except CheckpointNameError as error:
            raise CheckpointError(args.checkpoint, str(error)) from error
        plain = plain_config(config)
        check_weights_fit(plain, state, args.checkpoint)
        classes = dataset_classes(config.test_dataloader.dataset)
        for file in write_segmentor(args.out, plain, state, dict(classes=classes)):
            print(file)


if __name__ == '__main__':
    main()
