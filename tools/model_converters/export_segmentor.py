"""Writes the student or teacher of a training as a plain mmseg config with weights (pth and safetensors).

Stock mmseg loads the result with init_model, MMSegInferencer and its own tools/test.py; nothing of the training is left.
What is exported predicts bitwise what was trained, but for MiT, which becomes mmseg's own: see --keep-backbone. Changes
of a tuned backbone (LoRA, SoMA) are merged into its weights; learnable tokens cannot be, and need this package.
"""
import argparse

from mmengine.registry import init_default_scope

from mmseg_cicld.command_line import add_config_options, load_config, one_line_errors
from mmseg_cicld.datasets import check_num_classes
from mmseg_cicld.engine import read_checkpoint
from mmseg_cicld.engine.exporting import PREFIXES, exported_segmentor, write_segmentor


def main() -> None:
    """Exports."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_config_options(parser)
    parser.add_argument('checkpoint', help='checkpoint of a training with this config')
    parser.add_argument('out', help='output folder')
    parser.add_argument('--network', choices=sorted(PREFIXES),
                        help='which network (default: the one that the config evaluates, model.evaluate)')
    parser.add_argument('--keep-backbone', action='store_true',
                        help="keep this package's FusedMixVisionTransformer: predictions are bitwise those of the "
                        "training, and need this package. Without it MiT becomes mmseg's MixVisionTransformer, whose "
                        'norm constants and order of sums differ: logits of about 3 move by 2e-5 (B0) to 5e-5 (B5) in '
                        'float32, so that single pixels between two classes can change')
    args = parser.parse_args()
    with one_line_errors():
        config = load_config(parser, args)
        init_default_scope('mmseg')
        check_num_classes(config)
        checkpoint = read_checkpoint(args.checkpoint)
        plain, network = exported_segmentor(config, checkpoint, args.checkpoint, args.network, args.keep_backbone)
        dataset_meta = checkpoint.get('meta', {}).get('dataset_meta') or {}
        for file in write_segmentor(args.out, plain, network.state_dict(), dataset_meta):
            print(file)
        if plain.model.backbone.type == 'TunedBackbone':
            print(f'backbone: TunedBackbone is kept, {plain.model.backbone.tuning.type} cannot be merged into the weights; '
                  'whoever loads the segmentor needs mmseg_cicld')


if __name__ == '__main__':
    main()
