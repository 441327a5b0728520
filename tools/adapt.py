"""From two folders to an adapted segmentor: audits, chooses, trains, adapts, evaluates, reports and exports."""
import os

# How long threads wait for each other before they sleep, see docs/speed.md; torch reads it when it is imported.
if 'OMP_WAIT_POLICY' not in os.environ:
    os.environ.setdefault('GOMP_SPINCOUNT', '3000')

from mmseg_cicld.adapt.__main__ import main

if __name__ == '__main__':
    main()
