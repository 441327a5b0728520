"""Which method an old config means: the published one, unless the code beside it has more, which no config says."""
import ast
from collections.abc import Iterator
from pathlib import Path

from .accounting import OldPart
from .reading import OldConfigError

_FOLDER = Path('mmseg/models/uda')
# All names of the published files, as of DAFormer, HRDA and MIC together; what a fork has besides is its own.
_CLASSES = set('DACS AdvSeg MinEnt UDADecorator FCDiscriminator MaskingConsistencyModule EMATeacher'.split())
_FUNCTIONS = set('''_params_equal calc_grad_magnitude entropy_loss entropy_map get_module __init__ __call__ forward
    get_model extract_feat encode_decode forward_train inference simple_test aug_test get_ema_model get_imnet_model
    _init_ema_weights _update_ema train_step masked_feat_dist calc_feat_dist update_debug_state update_weights
    get_pseudo_label_and_weight filter_valid_pseudo_region adjust_learning_rate_D'''.split())
_KEYS = set('''model max_iters source_only alpha pseudo_threshold pseudo_weight_ignore_top pseudo_weight_ignore_bottom
    imnet_feature_dist_lambda imnet_feature_dist_classes imnet_feature_dist_scale_min_ratio mix blur
    color_jitter_strength color_jitter_probability mask_mode mask_alpha mask_pseudo_threshold mask_lambda mask_generator
    print_grad_magnitude debug_img_interval lr_D lr_D_power lr_D_min discriminator_type lambda_adv_target
    lambda_ent'''.split())
_ATTRIBUTES = set('''model train_cfg test_cfg num_classes debug_img_interval local_iter max_iters source_only alpha
    pseudo_threshold psweight_ignore_top psweight_ignore_bottom fdist_lambda fdist_classes fdist_scale_min_ratio
    enable_fdist mix blur color_jitter_s color_jitter_p mask_mode enable_masking print_grad_magnitude debug_fdist_mask
    debug_gt_rescale class_probs ema_model mic imnet_model mask_alpha mask_pseudo_threshold mask_lambda mask_gen teacher
    debug debug_output lr_D lr_D_power lr_D_min discriminator_type lambda_adv_target model_D optimizer_D loss_fn_D
    lambda_ent conv1 conv2 conv3 conv4 leaky_relu classifier'''.split())
_IMPORTS = set('''add_prefix UDA HRDAEncoderDecoder BaseSegmentor build_segmentor crop get_module denorm get_class_masks
    get_mean_std strong_transform build_mask_generator prepare_debug_out subplotimg downscale_label_ratio
    resize'''.split())
_LOSSES = set('''clean_loss feat_loss mix_loss masked_loss source_loss src_loss trg_loss g_trg_loss d_src_loss
    d_trg_loss'''.split())
_PUBLISHED = {'class': _CLASSES, 'function': _FUNCTIONS, 'config key': _KEYS, 'attribute': _ATTRIBUTES,
              'import': _IMPORTS | _CLASSES, 'loss': _LOSSES}


def find_code(config: str | Path) -> Path | None:
    """Returns ``mmseg/models/uda`` of the old program in whose tree a config file lies, None if there is none."""
    parents = Path(config).absolute().parents
    return next((parent / _FOLDER for parent in parents if (parent / _FOLDER).is_dir()), None)


def code_folder(given: str | Path) -> Path:
    """Returns ``mmseg/models/uda`` of the old program.

    Args:
        given: The folder of the program, or ``mmseg/models/uda`` itself.

    Raises:
        OldConfigError: If there is no such folder.
    """
    folders = [Path(given) / _FOLDER, Path(given) / 'seg' / _FOLDER, Path(given)]
    found = next((folder for folder in folders if any(folder.glob('*.py')) and folder.name == 'uda'), None)
    if found is None:
        raise OldConfigError(f'{given}: has no folder {_FOLDER} with Python files, where the old program keeps its '
                             'method: give --code the folder of the old program')
    return found


def name_method(root: OldPart, code: Path | None, published_method: bool) -> list[str]:
    """Says which method a config means, and refuses code that does more than the published one.

    Args:
        root: The whole old config.
        code: Folder ``mmseg/models/uda`` of the old program; None if it is not at hand.
        published_method: Whether the published method is wanted all the same.

    Returns:
        Lines for the report.
    """
    kind = root.look('uda').get('type') if isinstance(root.look('uda'), dict) else None
    meant = 'training on the source alone' if kind is None else f'the published {kind} of DAFormer, HRDA and MIC'
    lines = [f'meant is {meant}: what only the code of a fork does, no config says, and it is not migrated']
    if code is None:
        return [*lines, 'no code was looked at: none lies beside the config; name its folder with --code DIR']
    own = own_names(code)
    if not own:
        return [*lines, f'{code} has no name that the published code lacks; a change without a new name is not seen']
    lines += [f'{code / file} has what the published code lacks: {", ".join(names)}' for file, names in own.items()]
    if not published_method and kind is not None:
        root.part('uda').refuse('type', f'{kind!r} of {code} is more than the published one ({", ".join(own)}; see the '
                                        'top of the report): --published-method migrates the published one alone')
    return lines


def own_names(folder: Path) -> dict[str, list[str]]:
    """Returns what the files of a folder define, read or train with that the published files do not.

    A change inside a published function that needs no new name is not seen.

    Args:
        folder: ``mmseg/models/uda`` of the old program.

    Returns:
        Name of a file -> kinds and names, such as ``'config key my_weight'``; only files that have some.
    """
    found = {}
    for file in sorted(folder.rglob('*.py')):
        name = str(file.relative_to(folder))
        try:
            tree = ast.parse(file.read_text(encoding='utf-8', errors='replace'))
        except (SyntaxError, ValueError) as error:
            found[name] = [f'text that is no Python 3 ({error})']
            continue
        own = {(kind, word) for kind, word in _names(tree) if word not in _PUBLISHED[kind]}
        if own:
            found[name] = [f'{kind} {word}' for kind, word in sorted(own)]
    return found


def _names(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            yield 'class', node.name
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield 'function', node.name
        elif isinstance(node, ast.ImportFrom) and (node.level or (node.module or '').startswith('mmseg')):
            yield from (('import', alias.name) for alias in node.names)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and _is_name(node.value, 'self'):
            yield 'attribute', node.attr
        elif isinstance(node, ast.Subscript) and _is_name(node.value, 'cfg'):
            yield from (('config key', key) for key in _texts(node.slice))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield from _called(node.func, node.args)


def _called(function: ast.Attribute, arguments: list[ast.expr]) -> Iterator[tuple[str, str]]:
    if function.attr in ('get', 'pop') and _is_name(function.value, 'cfg'):
        yield from (('config key', key) for key in _texts(*arguments[:1]))
    elif function.attr == 'backward':
        yield 'loss', ast.unparse(function.value)


def _is_name(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _texts(*nodes: ast.expr) -> list[str]:
    return [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
