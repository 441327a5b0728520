"""Decode heads: DAFormer, DLV2 and HRDA with their legacy names, those of mmseg as they are."""
from mmseg.models.decode_heads.decode_head import BaseDecodeHead

from ..models.decode_heads import DLV2Head
from .accounting import OldPart
from .stock import copy_layer_config, copy_losses, copy_stock, stock_class

NEW = 'model.segmentor.decode_head'
DAFORMER, HRDA = ('DAFormerHead', 'UniHead'), ('HRDAHead', 'MultiResAttentionWrapper')
_FUSION_KEYS = dict(
    mlp=(),
    conv=('kernel_size', ),
    sep_conv=('kernel_size', ),
    aspp=('sep', 'dilations', 'pool'),
    rawconv_and_aspp=('kernel_size', 'sep', 'dilations', 'pool'),
    isa=('isa_channels', 'key_query_num_convs', 'down_factor'))


def migrate_decode_head(model: OldPart) -> dict:
    """Migrates ``model.decode_head``."""
    head = model.part('decode_head')
    if head.kind in HRDA:
        return _hrda(model, head)
    return _single_scale(head, head.kind, type_key='type')


def migrate_auxiliary_head(model: OldPart) -> dict:
    """Migrates ``model.auxiliary_head``, one or a list; returns it under its key, or nothing if there is none."""
    if model.look('auxiliary_head') is None:
        model.drop('auxiliary_head', 'None: there is no auxiliary head')
        return {}
    new = 'model.segmentor.auxiliary_head'
    if not isinstance(model.look('auxiliary_head'), (list, tuple)):
        return dict(auxiliary_head=_stock(model.part('auxiliary_head'), new))
    heads = model.parts('auxiliary_head')
    return dict(auxiliary_head=[_stock(head, f'{new}[{index}]') for index, head in enumerate(heads)])


def _single_scale(head: OldPart, name: str, type_key: str) -> dict:
    if name in DAFORMER:
        return _daformer(head, type_key)
    if name == 'DLV2Head':
        return _dlv2(head, type_key)
    if name == 'SegFormerHead':
        head.refuse_type("'SegFormerHead' (a linear layer a level) is not the SegformerHead of mmseg 1.x (convolution, "
                         'norm and ReLU a level): choose a head of this package or of mmseg', type_key)
        return {}
    return _stock(head, NEW)


def _stock(head: OldPart, new: str) -> dict:
    kind = stock_class(head.kind)
    if kind is None or not issubclass(kind, BaseDecodeHead):
        head.refuse_type(f'{head.look("type")!r} is no decode head of this package or of mmseg 1.x')
        return {}
    head.drop_if('sampler', (None, ), 'there is none', 'that slot carries the weights of the pseudo-labels')
    losses = copy_losses(head, 'loss_decode', f'{new}.loss_decode')
    return dict(copy_stock(head, kind, new, skip=('sampler', 'loss_decode')), **losses)


def _hrda(model: OldPart, head: OldPart) -> dict:
    head.take('type', f'{NEW}.type')
    single = head.need('single_scale_head', f'{NEW}.single_scale_head', 'DAFormerHead')
    new = dict(type='HRDAHead', single_scale_head='DAFormerHead' if single == 'UniHead' else single)
    for key, default in dict(attention_classwise=True, attention_embed_dim=256, fixed_attention=None,
                             hr_loss_weight=0, lr_loss_weight=0).items():
        new[key] = head.take(key, f'{NEW}.{key}', default)
    for key in ('enable_hr_crop', 'hr_slide_inference'):
        head.drop(key, 'follows from the segmentor, as it did in the old program')
    head.drop_if('scales', (model.look('scales'), ), 'follows from model.scales', 'differs from model.scales')
    head.drop_if('debug_output_attention', (False, ), 'is off', 'a switch of the old test program')
    if single not in (*DAFORMER, 'DLV2Head'):
        head.refuse_type(f'{single!r}: the old HRDAHead took DAFormerHead and DLV2Head', 'single_scale_head')
        return new
    return {**new, **_single_scale(head, single, type_key='single_scale_head'), 'type': 'HRDAHead'}


def _daformer(head: OldPart, type_key: str) -> dict:
    head.take(type_key, f'{NEW}.{type_key}')
    new = dict(type='DAFormerHead')
    for key in ('in_channels', 'in_index', 'channels', 'dropout_ratio', 'num_classes'):
        if key in head:
            new[key] = head.take(key, f'{NEW}.{key}')
    new.update(copy_layer_config(head, 'norm_cfg', f'{NEW}.norm_cfg'))
    head.drop_if('align_corners', (False, ), 'is always False in a DAFormerHead', 'a DAFormerHead takes False only')
    head.drop_if('input_transform', ('multiple_select', ), 'is always so in a DAFormerHead', 'a DAFormerHead selects')
    if 'decoder_params' in head:
        new['decoder_params'] = _decoder_params(head.part('decoder_params'))
    return dict(new, **copy_losses(head, 'loss_decode', f'{NEW}.loss_decode'))


def _decoder_params(params: OldPart) -> dict:
    path = f'{NEW}.decoder_params'
    new = dict(embed_dims=params.need('embed_dims', f'{path}.embed_dims'))
    for key in ('embed_cfg', 'embed_neck_cfg', 'fusion_cfg'):
        if key == 'embed_neck_cfg' and params.look(key, 'same_as_embed_cfg') in ('same_as_embed_cfg',
                                                                                  params.look('embed_cfg')):
            params.drop(key, 'the same as embed_cfg, which is the default')
        elif key in params:
            new[key] = _fusion(params.part(key), f'{path}.{key}')
    return new


def _fusion(layer: OldPart, path: str) -> dict:
    kind = layer.kind
    if kind not in _FUSION_KEYS:
        layer.refuse_type(f'{layer.look("type")!r}: this package has {sorted(_FUSION_KEYS)}')
        return {}
    new = dict(type=layer.take('type', f'{path}.type'))
    for key in _FUSION_KEYS[kind]:
        if key in layer:
            value = layer.take(key, f'{path}.{key}')
            new[key] = tuple(value) if isinstance(value, list) else value
    for key in ('norm_cfg', 'act_cfg'):
        if kind == 'mlp':
            layer.drop(key, "a layer of type 'mlp' has neither norm nor activation")
        else:
            new.update(copy_layer_config(layer, key, f'{path}.{key}'))
    layer.drop('fusion', 'legacy: the old program removed it too')
    layer.drop_if('context_cfg', (None, ), 'there is none', 'this package has no context layer')
    return new


def _dlv2(head: OldPart, type_key: str) -> dict:
    if isinstance(head.look('init_cfg'), dict):
        allowed = (dict(type='Normal', std=0.01, override=dict(name='aspp_modules')), )
        head.drop_if('init_cfg', allowed, 'the default of DLV2Head', 'DLV2Head starts from a normal distribution')
    new = copy_stock(head, DLV2Head, NEW, skip=('type', 'init_cfg', 'loss_decode', *_HRDA_KEYS))
    head.take(type_key, f'{NEW}.{type_key}')
    if 'dilations' in new:
        new['dilations'] = head.numbers('dilations', f'{NEW}.dilations')
    return dict(type='DLV2Head', **new, **copy_losses(head, 'loss_decode', f'{NEW}.loss_decode'))


_HRDA_KEYS = ('single_scale_head', 'attention_classwise', 'attention_embed_dim', 'fixed_attention', 'hr_loss_weight',
              'lr_loss_weight', 'enable_hr_crop', 'hr_slide_inference', 'scales', 'debug_output_attention')
