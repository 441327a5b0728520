# SYNTHIA shows neither terrain, truck nor train; results are reported over the other 16 classes, and over 13 of
# them. mIoU is the mean over all 19.
val_evaluator = dict(
    type='SubsetIoUMetric',
    iou_metrics=['mIoU'],
    subsets=dict(
        mIoU16=('road', 'sidewalk', 'building', 'wall', 'fence', 'pole', 'traffic light', 'traffic sign', 'vegetation',
                'sky', 'person', 'rider', 'car', 'bus', 'motorcycle', 'bicycle'),
        mIoU13=('road', 'sidewalk', 'building', 'traffic light', 'traffic sign', 'vegetation', 'sky', 'person',
                'rider', 'car', 'bus', 'motorcycle', 'bicycle')))
test_evaluator = val_evaluator
