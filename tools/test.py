"""Evaluates a trained segmentor on the test data of a config."""
import argparse
from pathlib import Path

from mmengine.config import Config
from mmseg.registry import RUNNERS

from mmseg_cicld.command_line import (add_config_options, add_run_options, apply_run_options, load_config,
                                      one_line_errors)


def make_parser() -> argparse.ArgumentParser:
    """Returns the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_config_options(parser)
    parser.add_argument('checkpoint', help='checkpoint of a training with this config')
    add_run_options(parser)
    parser.add_argument('--out', metavar='FOLDER', help='write predictions as label PNGs')
    parser.add_argument('--show', action='store_true', help='show predictions in a window')
    parser.add_argument('--show-dir', metavar='FOLDER', help='write pictures of all predictions')
    parser.add_argument('--wait-time', type=float, default=2, metavar='SECONDS', help='how long --show shows each image')
    parser.add_argument('--tta', action='store_true',
                        help="average over tta_pipeline of the config, by default each image and its mirror image")
    return parser


def apply_drawing(parser: argparse.ArgumentParser, cfg: Config, args: argparse.Namespace) -> None:
    """Turns the visualisation hook on."""
    hook = cfg.get('default_hooks', {}).get('visualization')
    if hook is None:
        parser.error("--show and --show-dir need default_hooks.visualization=dict(type='SegVisualizationHook')")
    hook.update(draw=True, interval=1, show=args.show, wait_time=args.wait_time)
    if args.show_dir:
        cfg.visualizer.save_dir = args.show_dir


def apply_tta(cfg: Config) -> None:
    """Lets mmseg's test time augmentation run around the model."""
    pipeline = cfg.test_dataloader.dataset.pipeline
    cfg.test_dataloader.dataset.pipeline = cfg.get('tta_pipeline') or mirrored(pipeline)
    cfg.model = dict(cfg.get('tta_model') or dict(type='SegTTAModel'), module=cfg.model)


def mirrored(pipeline: list[dict]) -> list[dict]:
    """Returns a test pipeline that yields each image as it is and mirrored; labels stay as they are.

    Args:
        pipeline: Transforms of images, then the loading of labels, then packing.
    """
    labels = next(i for i, step in enumerate(pipeline) if step['type'].startswith(('LoadAnn', 'LoadLabel', 'Pack')))
    flips = [dict(type='RandomFlip', prob=prob, direction='horizontal') for prob in (0.0, 1.0)]
    return pipeline[:labels] + [dict(type='TestTimeAug', transforms=[flips] + [[step] for step in pipeline[labels:]])]


def main() -> None:
    """Evaluates."""
    parser = make_parser()
    args = parser.parse_args()
    with one_line_errors():
        cfg = load_config(parser, args)
        apply_run_options(cfg, args)
        cfg.load_from, cfg.resume = args.checkpoint, False
        if args.show or args.show_dir:
            apply_drawing(parser, cfg, args)
        if args.out:
            Path(args.out).mkdir(parents=True, exist_ok=True)
            cfg.test_evaluator.update(output_dir=args.out)
        if args.tta:
            apply_tta(cfg)
        cfg.setdefault('runner_type', 'AdaptationRunner')
        RUNNERS.build(cfg).test()


if __name__ == '__main__':
    main()
