# How a small Vision Transformer is tuned: whole, its last block, by LoRA, or not at all; source-only, then DACS. Its weights
# are distilled from EfficientNet-Lite0 on the source images of other pairs, without labels (the first row, whose head has
# learned nothing). Images besides the street set's: render_pair.py aerial data/aerial, render_pair.py texture data/texture
_base_ = ['./short.py']

seeds = [0, 1, 2]
distilled, street, backbone = 'distilled, no labels', 'configs/street/', 'model.segmentor.backbone'
length = dict.fromkeys(('param_scheduler.1.end', 'train_cfg.max_iters', 'train_cfg.val_interval'), 600)
whole = dict(  # that of vit_network.py
    type='TransformersBackbone',
    model=dict(
        model_type='dinov2',
        hidden_size=192,
        num_hidden_layers=6,
        num_attention_heads=3,
        patch_size=8,
        image_size=128),
    out_indices=[5])
tunings = {
    'last block': dict(type='LastBlocksTuning', blocks=1),
    'LoRA': dict(type='LoRATuning', rank=16, alpha=16),
    'frozen': dict(type='FrozenTuning'),
}
# What LoRA adds starts from nothing and takes the rate of the head, five times that of weights that are there.
rates = {
    'optim_wrapper.optimizer.lr': 1.5e-3,
    'optim_wrapper.paramwise_cfg.custom_keys.head.lr_mult': 1.0,
}
networks = {
    'all, from random weights': (None, {}),
    'all': (distilled, {}),
    **{
        name: (distilled, {
            backbone: dict(_delete_=True, type='TunedBackbone', backbone=whole, tuning=tuning),
            **(rates if name == 'LoRA' else {}),
        })
        for name, tuning in tunings.items()
    },
}
rows = [
    dict(name=distilled, config=f'{street}vit_distillation.py', options={**length, 'train_dataloader.batch_size': 4}),
    *(dict(name=f'{name}: {method}', config=f'{street}{config}.py', begin_with=before if stage else start,
           options={**options, **(_base_.source_only if not stage else {})})
      for name, (start, options) in networks.items() for before in (f'{name}: source only', )
      for stage, (method, config) in enumerate((('source only', 'vit_source_only'), ('DACS', 'vit_dacs')))),
]
