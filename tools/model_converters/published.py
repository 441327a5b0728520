"""Turns a checkpoint of the published DAFormer, HRDA or MIC training into files that work today.

CONFIG says which network the checkpoint holds: one of this package, such as
configs/hrda/hrda_mit-b5_1xb2-40k_gta2cityscapes-1024x1024.py, or the old config that lies beside the checkpoint (Python
or JSON). Every tensor has to find its place in it. OUT becomes a folder: with --to mmseg a plain mmseg config with
weights of one network, with --to training a checkpoint of student and teacher for the load_from of a training.
"""
import argparse
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmseg_cicld.command_line import add_config_options, load_config, one_line_errors
from mmseg_cicld.datasets import check_num_classes
from mmseg_cicld.datasets.class_count import dataset_classes
from mmseg_cicld.engine import read_checkpoint, write_checkpoint
from mmseg_cicld.engine.exporting import check_weights_fit, plain_config, training_state, write_segmentor
from mmseg_cicld.engine.published_checkpoints import NETWORKS, PublishedCheckpoint
from mmseg_cicld.migration import is_old_config, migrated_config


def main() -> None:
    """Converts."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_config_options(parser)
    parser.add_argument('checkpoint', help='published training checkpoint')
    parser.add_argument('out', help='output folder')
    parser.add_argument('--to', choices=['mmseg', 'training'], default='mmseg')
    parser.add_argument('--network', choices=NETWORKS, help='which one with --to mmseg (default: student)')
    parser.add_argument('--leave-out', nargs='+', default=[], metavar='PREFIX',
                        help='starts of the names of tensors that a fork added, such as proto_memory; they are listed')
    parser.add_argument('--allow-unsafe-checkpoint', action='store_true',
                        help='read a checkpoint that holds objects, which can run any code; only for files you trust')
    args = parser.parse_args()
    if args.to == 'training' and args.network:
        parser.error('--to training takes all networks: leave --network out')
    with one_line_errors():
        config = load_config(parser, args)
        init_default_scope('mmseg')
        if is_old_config(config):
            config = migrated_config(config, args.config)
        check_num_classes(config)
        published = PublishedCheckpoint.of(
            read_checkpoint(args.checkpoint, allow_unsafe=args.allow_unsafe_checkpoint), args.checkpoint,
            tuple(args.leave_out))
        convert = _to_training if args.to == 'training' else _to_mmseg
        convert(config, published, args)


def _to_mmseg(config: Config, published: PublishedCheckpoint, args: argparse.Namespace) -> None:
    network = args.network or 'student'
    state, plain = published.network(network), plain_config(config)
    check_weights_fit(plain, state, args.checkpoint)
    print(published.summary(used=(network, )))
    meta = dict(classes=dataset_classes(config.test_dataloader.dataset), palette=published.meta.get('PALETTE'))
    for file in write_segmentor(args.out, plain, state, meta):
        print(file)


def _to_training(config: Config, published: PublishedCheckpoint, args: argparse.Namespace) -> None:
    wanted = NETWORKS if config.model.get('teacher') is not None else ('student', )
    used = tuple(name for name in wanted if name in published.parts)
    networks = {name: published.network(name) for name in used}
    for state in networks.values():
        check_weights_fit(plain_config(config), state, args.checkpoint)
    print(published.summary(used))
    file = Path(args.out) / 'training.pth'
    write_checkpoint(dict(meta={}, state_dict=training_state(networks)), file)
    print(file)


if __name__ == '__main__':
    main()
