"""The figures that there are, for those who need to know them without drawing any."""

FIGURE_NAMES = ("echocardiogram", "segmentation", "diastole", "systole", "heart_rate", "function")
