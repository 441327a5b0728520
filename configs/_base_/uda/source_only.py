# Training on labelled source images alone: the lower bound that adaptation has to beat.
teacher = None
objectives = [dict(type='SourceSupervision')]
