# SGG: source images as they are and translated in four ways, for source images alone and for DAFormer, which
# begins with the network of the row before. configs/sgg/README.md has the commands of the translations.
_base_ = ['./short.py']

daformer = 'configs/street/daformer_street.py'
data = 'train_dataloader.dataset.translated'
rows = [
    dict(name='source only', config='configs/street/source_only_street.py', options=_base_.source_only),
    dict(name='DAFormer', config=daformer, begin_with='source only'),
    *(dict(name=f'{method}, {kind}', config=daformer, begin_with=begin,
           options={**options, data: dict(data_root=f'work_dirs/sgg/{folder}', share=1.0)})
      for kind, folder in (('unguided', 'unguided'), ('LCG and GSG', 'both'), ('LCG and GSG of 0.001', 'gentle'),
                           ('adapted guide', 'adapted'))
      for method, begin, options in (('source only', None, _base_.source_only),
                                     ('DAFormer', f'source only, {kind}', {}))),
]
