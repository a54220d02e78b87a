"""The published networks: their architecture, their checkpoints, and what becomes of them here."""
