# DAFormer with MiT-B5 from Cityscapes to two targets at once, ACDC and Dark Zurich, with a score of each.
_base_ = ['../daformer/daformer_mit-b5_1xb2-40k_cityscapes2acdc-512x512.py']

dark_zurich = dict(type='DarkZurichDataset', data_root='data/dark_zurich')
train_dataloader = dict(dataset=dict(target=dict(
    _delete_=True,
    type='WeightedConcatDataset',
    datasets=[
        dict(_base_.target_train, pipeline=_base_.target_pipeline),
        dict(dark_zurich, data_prefix=dict(img_path='rgb_anon/train/night'), pipeline=_base_.target_pipeline)
    ],
    weights=[1, 1])))
val_dataloader = dict(dataset=dict(
    _delete_=True,
    type='ConcatDataset',
    datasets=[
        dict(_base_.target_val, pipeline=_base_.val_pipeline),
        dict(
            dark_zurich,
            data_prefix=dict(img_path='rgb_anon/val/night', seg_map_path='gt/val/night'),
            pipeline=_base_.val_pipeline)
    ]))
val_evaluator = dict(type='DomainIoUMetric', domains=dict(acdc='data/acdc', darkzurich='data/dark_zurich'))
test_dataloader = val_dataloader
test_evaluator = val_evaluator
