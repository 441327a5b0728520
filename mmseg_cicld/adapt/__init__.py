"""From two folders to an adapted segmentor: audits, chooses, trains source-only, adapts, evaluates, reports, exports.

Run it with ``python tools/adapt.py`` or, where the package is installed, ``python -m mmseg_cicld.adapt``.
"""
