"""Importing the package stays as quick as importing mmseg: what few trainings use loads when it is used."""
import ast

import pytest
from mmengine.registry import Registry
from mmseg import registry as registries
from shell_commands import ROOT, python

import mmseg_cicld
from mmseg_cicld import on_demand

REPORT = '''
import sys
import mmseg_cicld
own = [name for name in sys.modules if name.startswith(("mmseg_cicld.translation", "mmseg_cicld.migration"))]
import mmseg_cicld.command_line
heavy = ("diffusers", "transformers", "huggingface_hub", "scipy.stats", "torch._dynamo.symbolic_convert")
print(own, [name for name in heavy if name in sys.modules])
'''
HEAD = '''
import sys
from mmengine.registry import init_default_scope
from mmengine.utils import import_modules_from_strings
import_modules_from_strings(["mmseg_cicld"])
from mmseg.registry import HOOKS, MODELS
init_default_scope("mmseg")
assert MODELS.get("LatentDiffusionHead").__name__ == "LatentDiffusionHead" and "diffusers" not in sys.modules
hook = HOOKS.build(dict(type="mmseg_cicld.SaveFolderHook", folder="other"))
assert (type(hook).__module__, hook.folder) == ("mmseg_cicld.translation.hooks", "other")
assert HOOKS.get("SaveFolderHook") is type(hook)
try:
    MODELS.build(dict(type="TargetDiffusion", momentum=1))
except TypeError as error:
    assert "image_size" in str(error), error
'''


def _registered() -> list[tuple[str, str, str]]:
    """Returns registry, name and file of each class of the package with a ``REGISTRY.register_module(...)`` above."""
    found = []
    for path in sorted((ROOT / 'mmseg_cicld').rglob('*.py')):
        for part in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            for call in part.decorator_list if isinstance(part, ast.ClassDef) else ():
                if isinstance(call, ast.Call) and getattr(call.func, 'attr', '') == 'register_module':
                    given = {option.arg: ast.literal_eval(option.value) for option in call.keywords}
                    names = given.get('name', part.name)
                    found += [(call.func.value.id, name, path.name)
                              for name in (names if isinstance(names, list) else [names])]
    return found


def test_importing_the_package_loads_neither_diffusers_nor_translation(tmp_path):
    loaded = python('-c', REPORT, cwd=tmp_path).stdout.splitlines()[-1]
    assert loaded == '[] []', 'import it in the function that uses it, see mmseg_cicld/models/__init__.py and on_demand.py'


def test_components_are_found_by_type_and_load_when_built(tmp_path):
    python('-c', HEAD, cwd=tmp_path)


@pytest.mark.parametrize(('registry', 'name', 'file'), _registered(), ids=lambda value: value)
def test_every_component_of_the_package_is_registered_by_the_import(registry, name, file):
    found = getattr(registries, registry).get(name)
    assert found is not None, f'{file} is neither imported by the package nor named in on_demand.py'
    assert found.__module__.startswith('mmseg_cicld.')


@pytest.mark.parametrize(('registry', 'name', 'module'), on_demand.COMPONENTS, ids=lambda value: getattr(value, 'name', value))
def test_entries_on_demand_lead_to_their_classes(registry: Registry, name: str, module: str):
    imported = __import__(module, fromlist=[name])
    assert registry.get(name) is getattr(imported, name) is getattr(mmseg_cicld.translation, name)


def test_names_that_do_not_exist_are_named():
    for module in (mmseg_cicld, mmseg_cicld.translation):
        with pytest.raises(AttributeError, match=f'{module.__name__}.*nothing'):
            module.nothing
