"""Builds and installs the package; see README.md for the two sets of host packages."""
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent


def requirements(name: str) -> list[str]:
    """Returns the lines of a file in ``requirements/`` without its comments."""
    lines = (line.partition('#')[0].strip() for line in (ROOT / 'requirements' / f'{name}.txt').read_text().splitlines())
    return [line for line in lines if line]


def version() -> str:
    """Returns the version without importing the package, whose dependencies need not be there yet."""
    scope: dict[str, str] = {}
    exec((ROOT / 'mmseg_cicld' / 'version.py').read_text(), scope)
    return scope['__version__']


setup(
    name='mmseg_cicld',
    version=version(),
    description='Unsupervised domain adaptation for MMSegmentation 1.x: DACS, DAFormer and methods that plug into them',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    keywords='semantic segmentation, unsupervised domain adaptation, mmsegmentation',
    classifiers=[
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
    ],
    python_requires='>=3.11',
    packages=find_packages(include=['mmseg_cicld', 'mmseg_cicld.*']),
    # .mim holds links to configs/, tools/ and model-index.yml, where mim and mmengine look for them; in a wheel they
    # are the files themselves.
    package_data={'mmseg_cicld': ['.mim/model-index.yml', '.mim/configs/**/*', '.mim/tools/**/*']},
    exclude_package_data={'mmseg_cicld': ['.mim/**/__pycache__/*', '.mim/**/*.pyc']},
    install_requires=requirements('runtime'),
    extras_require={name: requirements(name) for name in ('openmmlab', 'onedl', 'tests')},
    zip_safe=False)
