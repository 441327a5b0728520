"""Files about the package agree with each other and with what is there."""
import os
import re

import mmengine
import pytest
import yaml
from packaging.requirements import Requirement
from shell_commands import ROOT

import mmseg_cicld

REQUIREMENTS = sorted((ROOT / 'requirements').glob('*.txt'))


def _lines(name: str) -> list[str]:
    lines = ((ROOT / 'requirements' / name).read_text()).splitlines()
    return [line.partition('#')[0].strip() for line in lines if line.partition('#')[0].strip()]


def test_model_index_imports_every_metafile_and_their_configs_exist():
    found = {path.relative_to(ROOT).as_posix() for path in (ROOT / 'configs').glob('*/metafile.yaml')}
    assert set(mmengine.load(ROOT / 'model-index.yml')['Import'] or []) == found
    for metafile in found:
        for model in mmengine.load(ROOT / metafile)['Models']:
            assert (ROOT / model['Config']).is_file(), model['Config']


def test_mim_folder_leads_to_configs_tools_and_index():
    for name in ('configs', 'tools', 'model-index.yml'):
        assert os.path.realpath(ROOT / 'mmseg_cicld' / '.mim' / name) == str((ROOT / name).resolve())


def test_citation_names_the_papers_and_this_version():
    citation = yaml.safe_load((ROOT / 'CITATION.cff').read_text())
    assert citation['version'] == mmseg_cicld.__version__ and citation['license'] == 'Apache-2.0'
    titles = ' '.join(reference['title'] for reference in citation['references'])
    for word in ('DACS', 'DAFormer', 'HRDA', 'MIC', 'Adversarial Diffusion Model', 'Image Degradation', 'Label Guidance'):
        assert word in titles, word
    assert all(reference['authors'] and reference['url'] for reference in citation['references'])


def test_licence_states_the_terms_of_code_methods_and_weights():
    assert 'Version 2.0, January 2004' in (ROOT / 'LICENSE').read_text()
    notice = (ROOT / 'NOTICE').read_text()
    for name in ('MMSegmentation', 'Diffusers', 'DAFormer', 'HRDA', 'MIC', 'DACS', 'NVIDIA Source Code License',
                 'non-commercial', 'ImageNet'):
        assert name in notice, name


@pytest.mark.parametrize('path', [path for path in REQUIREMENTS if path.name != 'tested.txt'], ids=lambda path: path.name)
def test_every_requirement_has_a_tested_version(path):
    tested = {Requirement(line).name.lower().replace('_', '-'): line for line in _lines('tested.txt')}
    for line in _lines(path.name):
        requirement = Requirement(line)
        pinned = [str(specifier) for specifier in requirement.specifier if specifier.operator == '==']
        version = tested.get(requirement.name.lower().replace('_', '-'))
        assert pinned or version or requirement.name == 'setuptools', f'{line}: no tested version'
        if version:
            assert requirement.specifier.contains(version.partition('==')[2]), line


def test_tested_versions_are_exact_and_not_of_one_machine():
    for line in _lines('tested.txt'):
        assert re.fullmatch(r'[\w.-]+==[\w.]+', line), line  # no local version such as +cpu, no address


def test_scripts_are_executable():
    for script in [*(ROOT / 'tools').glob('*.sh'), ROOT / '.ci' / 'run']:
        assert os.access(script, os.X_OK), script
    assert 'bash tools/run_tests.sh' in (ROOT / '.ci' / 'run').read_text()
