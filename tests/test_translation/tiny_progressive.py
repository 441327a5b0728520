"""A progressive translation of the tiny dataset: its guide learns in two iterations a round."""
from pathlib import Path

from mmengine.config import Config
from tiny_translation import colour_segmentor, write_config, write_segmentor


def training_config(source: dict) -> dict:
    """A source-only training of the colour segmentor, without evaluation."""
    pipeline = [dict(type='LoadImageStrictly'), dict(type='LoadLabelStrictly'),
                dict(type='RandomCrop', crop_size=(16, 16)), dict(type='PackUDAInputs')]
    segmentor = colour_segmentor()
    segmentor['data_preprocessor'].update(size=(16, 16), seg_pad_val=255)
    return dict(
        default_scope='mmseg', runner_type='AdaptationRunner', randomness=dict(seed=0), log_level='WARNING',
        custom_imports=dict(imports=['mmseg_cicld', 'tiny_translation']),
        model=dict(type='ClassMixEMA', segmentor=segmentor, teacher=None, objectives=[dict(type='SourceSupervision')]),
        train_dataloader=dict(batch_size=2, num_workers=0, sampler=dict(type='KeyedInfiniteSampler'),
                              dataset=dict(type='UDADataset', source=dict(source, pipeline=pipeline))),
        train_cfg=dict(type='ExactResumeTrainLoop', max_iters=50, val_interval=50),
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1)),
        param_scheduler=[dict(type='LinearLR', start_factor=0.5, by_epoch=False, begin=0, end=1),
                         dict(type='PolyLR', power=1.0, eta_min=0.0, by_epoch=False, begin=1, end=50)],
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=1, max_keep_ckpts=1),
                           logger=dict(type='LoggerHook', interval=1, log_metric_by_epoch=False)),
        env_cfg=dict(mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0), dist_cfg=dict(backend='nccl')),
        log_processor=dict(by_epoch=False))


def write_progressive(folder: Path, rounds: list[dict], **changes: object) -> Config:
    """Writes all that a progressive translation reads, and gives its config."""
    config = write_config(folder, segmentor=write_segmentor(folder / 'guide'), guidance=dict(local_scale=0.5))
    Config(training_config(config['source'])).dump(folder / 'training.py')
    progressive = dict(training=str(folder / 'training.py'), rounds=rounds, hand_over={'': 'student.'}, **changes)
    return Config(dict(config, progressive=progressive))
