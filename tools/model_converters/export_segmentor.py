"""Writes the student or teacher of a training as a plain mmseg config with weights (pth and safetensors).

Stock mmseg loads the result with init_model, MMSegInferencer and its own tools/test.py; nothing of the training is left.
"""
import argparse

from mmengine.registry import init_default_scope

from mmseg_cicld.command_line import add_config_options, load_config, one_line_errors
from mmseg_cicld.datasets import check_num_classes
from mmseg_cicld.engine import read_checkpoint
from mmseg_cicld.engine.exporting import (PREFIXES, check_weights_fit, plain_config, select_network,
                                          without_training_parts, write_segmentor)


def main() -> None:
    """Exports."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_config_options(parser)
    parser.add_argument('checkpoint', help='checkpoint of a training with this config')
    parser.add_argument('out', help='output folder')
    parser.add_argument('--network', choices=sorted(PREFIXES), default='student')
    args = parser.parse_args()
    with one_line_errors():
        config = load_config(parser, args)
        init_default_scope('mmseg')
        check_num_classes(config)
        checkpoint = read_checkpoint(args.checkpoint)
        state = select_network(checkpoint.get('state_dict', checkpoint), args.network, args.checkpoint)
        plain = plain_config(config)
        state = without_training_parts(state, plain)
        check_weights_fit(plain, state, args.checkpoint)
        for file in write_segmentor(args.out, plain, state, checkpoint.get('meta', {}).get('dataset_meta') or {}):
            print(file)


if __name__ == '__main__':
    main()
