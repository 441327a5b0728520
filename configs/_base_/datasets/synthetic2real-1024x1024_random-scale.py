# All synthetic sources and all real targets that this package has datasets of: GTA5 and SYNTHIA to Cityscapes, ACDC and
# Dark Zurich, every image as likely as any other. Each target has a score.
_base_ = ['./gta2cityscapes-1024x1024_random-scale.py']

synthia = dict(
    type='SYNTHIADataset',
    data_root='data/synthia',
    data_prefix=dict(img_path='RGB', seg_map_path='GT/LABELS'),
    pipeline=_base_.labelled_scaled_pipeline)
acdc = dict(type='ACDCDataset', data_root='data/acdc')
dark_zurich = dict(type='DarkZurichDataset', data_root='data/dark_zurich')
train_dataloader = dict(dataset=dict(
    source=dict(
        _delete_=True,
        type='WeightedConcatDataset',
        datasets=[dict(_base_.source_train, pipeline=_base_.source_pipeline), synthia]),
    target=dict(
        _delete_=True,
        type='WeightedConcatDataset',
        datasets=[
            dict(_base_.target_train, pipeline=_base_.unlabelled_scaled_pipeline),
            dict(acdc, data_prefix=dict(img_path='rgb_anon/train'), pipeline=_base_.unlabelled_scaled_pipeline),
            dict(dark_zurich, data_prefix=dict(img_path='rgb_anon/train/night'),
                 pipeline=_base_.unlabelled_scaled_pipeline)
        ])))
val_dataloader = dict(dataset=dict(
    _delete_=True,
    type='ConcatDataset',
    datasets=[
        dict(_base_.target_val, pipeline=_base_.val_pipeline),
        dict(acdc, data_prefix=dict(img_path='rgb_anon/val', seg_map_path='gt/val'), pipeline=_base_.val_pipeline),
        dict(dark_zurich, data_prefix=dict(img_path='rgb_anon/val/night', seg_map_path='gt/val/night'),
             pipeline=_base_.val_pipeline)
    ]))
val_evaluator = dict(
    type='DomainIoUMetric',
    domains=dict(cityscapes='data/cityscapes', acdc='data/acdc', darkzurich='data/dark_zurich'))
test_dataloader = val_dataloader
test_evaluator = val_evaluator
