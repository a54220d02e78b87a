"""Another revision of the project, checked out beside this one for as long as it is measured."""

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@contextlib.contextmanager
def checkouts(against: str | None) -> Iterator[dict[str, Path]]:
    """Give this checkout and, where asked for, another revision's, by what they are called."""
    if against is None:
        yield {"here": ROOT}
        return
    with tempfile.TemporaryDirectory() as folder:
        other = Path(folder) / "other"
        _git("worktree", "add", "--quiet", "--detach", str(other), against)
        try:
            yield {"here": ROOT, against: other}
        finally:
            _git("worktree", "remove", "--force", str(other))


def _git(*arguments: str) -> None:
    subprocess.run(["git", "-C", str(ROOT), *arguments], check=True)
