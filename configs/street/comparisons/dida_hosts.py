# DiDA on each method.
_base_ = ['./short.py']

rows = [dict(name=f'{host}{name}', config=f'configs/street/{config}_street.py')
        for host, plain, bridged in (('DACS', 'dacs', 'dida-dacs'), ('DAFormer', 'daformer', 'dida-daformer'),
                                     ('HRDA', 'hrda', 'dida-hrda'), ('MIC', 'mic', 'dida'))
        for name, config in (('', plain), (' + DiDA', bridged))]
