"""What the figures say in words."""

from collections import Counter

from app.pipeline.results import Analysis

MOST_REASONS = 3  # what fits in a line; the table of beats has them all


def quality_note(analysis: Analysis) -> str:
    """How much of the recording counts."""
    duration_s = analysis.strip.duration_s
    duration = f"{duration_s:.2f} s" if duration_s < 100 else f"{duration_s:.0f} s"
    if not any(window.label == "high" for window in analysis.windows):
        return f"No part of these {duration} is of high quality, so no beat counts."
    return f"{100 * analysis.high_fraction:.0f} % of {duration} is of high quality."


def beats_note(analysis: Analysis) -> str:
    """How many beats count, and why the others do not."""
    beats = analysis.beats
    if not beats:
        return "No beats were found."
    accepted = sum(beat.accepted for beat in beats)
    note = f"{accepted} of {len(beats)} beats count"
    reasons = Counter(b.rejected_because or "rejected" for b in beats if not b.accepted)
    named = reasons.most_common(MOST_REASONS)
    why = ", ".join(f"{n} {reason.replace('_', ' ')}" for reason, n in named)
    if others := reasons.total() - sum(n for _, n in named):
        why += f", {others} other"
    return f"{note} (not counted: {why})." if why else f"{note}."
