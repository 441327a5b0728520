"""The quick start: renders the street set, trains source-only, adapts, evaluates both and writes a report.

Run it with ``bash tools/quickstart.sh`` or, where the package is installed, ``python -m mmseg_cicld.quickstart``.
"""
