"""Builds and installs the package; pyproject.toml says what it is, README.md how the host packages come in two sets."""
from setuptools import setup

setup()
