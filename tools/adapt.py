"""From two folders to an adapted segmentor: audits, chooses, trains, adapts, evaluates, reports and exports."""
from mmseg_cicld.adapt.__main__ import main

if __name__ == '__main__':
    main()
