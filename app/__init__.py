"""Echo2Pheno: mouse M-mode echocardiograms in, cardiac phenotypes out.

Research use only; not a medical device.
"""

__version__ = "0.1.0"

INTERRUPTED = 130
"""Status of a command that the user stopped, as shells have it for SIGINT."""
