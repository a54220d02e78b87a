"""Echo2Pheno: mouse M-mode echocardiograms in, cardiac phenotypes out.

Research use only; not a medical device.
"""

__version__ = "0.1.0"
