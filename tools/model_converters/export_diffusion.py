"""Writes the averaged weights of a target diffusion model's checkpoint as a diffusers folder.

A training that came to its end has written WORK_DIR/diffusion by itself; this is for checkpoints on the way.
"""
import argparse
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

from mmseg_cicld.command_line import add_config_options, load_config, one_line_errors
from mmseg_cicld.engine import CheckpointError, read_checkpoint
from mmseg_cicld.translation import TargetDiffusion
from mmseg_cicld.translation.hooks import save_folder_whole


def export(config: Config, checkpoint: str, folder: Path) -> None:
    """Writes the folder; whatever was there under this name is replaced once the new one is whole.

    Raises:
        CheckpointError: If the config is of something else, or the checkpoint is not one of it.
    """
    init_default_scope(config.get('default_scope', 'mmseg'))
    model = MODELS.build(config.model)
    if not isinstance(model, TargetDiffusion):
        raise CheckpointError(checkpoint, f'the config has a {type(model).__name__}: give that of a TargetDiffusion')
    try:
        model.load_state_dict(read_checkpoint(checkpoint)['state_dict'])
    except (KeyError, RuntimeError) as error:
        raise CheckpointError(checkpoint, f'is not one of this config: {" ".join(str(error).split())[:300]}') from error
    save_folder_whole(model.save_folder, folder)


def main() -> None:
    """Exports."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_config_options(parser)
    parser.add_argument('checkpoint', help='checkpoint of its training')
    parser.add_argument('folder', type=Path, help='folder to write, which ImageDiffusion and DDPMPipeline read')
    args = parser.parse_args()
    with one_line_errors():
        export(load_config(parser, args), args.checkpoint, args.folder)
    print(f'wrote {args.folder}')


if __name__ == '__main__':
    main()
