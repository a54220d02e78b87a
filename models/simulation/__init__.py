"""Simulated M-mode recordings with their ground truth, and the scanner that exports them."""
