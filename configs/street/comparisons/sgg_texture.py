# SGG on the pair whose looks differ in texture. configs/sgg/README.md has the commands of the translations.
_base_ = ['./short.py', './texture.py']

options = _base_.texture
daformer = 'configs/street/daformer_street.py'
adaptation = {**_base_.texture_target, **_base_.texture_things}
data = 'train_dataloader.dataset.translated'
rows = [
    dict(name='source only', config='configs/street/source_only_street.py', options=_base_.source_only),
    dict(name='DAFormer', config=daformer, begin_with='source only', options=adaptation),
    *(dict(name=f'{method}, {kind}', config=daformer, begin_with=begin,
           options={**options, data: dict(data_root=f'work_dirs/sgg_texture/{folder}', share=1.0)})
      for kind, folder in (('unguided', 'unguided'), ('LCG and GSG', 'both'), ('LCG and GSG of 0.01', 'strong'),
                           ('adapted guide of 0.01', 'adapted'))
      for method, begin, options in (('source only', None, _base_.source_only),
                                     ('DAFormer', f'source only, {kind}', adaptation))),
]
