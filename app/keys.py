"""Who may call: a file of keys, each kept as a salted hash.

A key is 256 random bits, so there is nothing to guess and a slow hash would only hand callers a
way to keep the service busy: BLAKE2b with a salt of its own per key (RFC 7693) is enough.
"""

import fcntl
import hashlib
import hmac
import json
import logging
import os
import re
import secrets
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

logger = logging.getLogger(__name__)

Role = Literal["analyse", "read-all", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)

_VERSION = 1
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_HEX = re.compile(r"(?:[0-9a-f]{2})+")
_SECRET = re.compile(r"e2p_([0-9a-f]{16})_[A-Za-z0-9_-]{43}")


class KeysError(Exception):
    """What is wrong with the file of keys, or with what was asked of it, in one sentence."""


@dataclass(frozen=True)
class Key:
    """One caller's key, without its secret.

    Attributes
    ----------
    id : str
        Never used again, so that nobody inherits the analyses of a key that was removed.
    salt, hash : str
        Hexadecimal.
    """

    id: str
    name: str
    role: Role
    created_at: str
    salt: str
    hash: str

    def opens(self, secret: str) -> bool:
        """Whether this is the key's secret, compared in constant time."""
        return hmac.compare_digest(_hash(secret, self.salt), self.hash)


_NOBODY = Key("", "", "analyse", "", secrets.token_hex(16), secrets.token_hex(32))
"""Compared with where there is no such key, so that both take as long."""


class KeyRing:
    """The keys of a file, read again whenever the file has changed.

    A change that cannot be read is logged once; the keys of before stay in force, and `problem`
    says so until the file is good again.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path) -> None:
        self.problem: str | None = None
        self._path = path
        self._keys: Mapping[str, Key] = {}
        self._seen: tuple[int, ...] | None = None
        self._lock = threading.Lock()

    def load(self) -> None:
        """Read the file for the first time.

        Raises
        ------
        KeysError
            It cannot be read.
        """
        seen = self._state()
        self._keys = {key.id: key for key in read_keys(self._path)}
        self._seen = seen

    def find(self, secret: str) -> Key | None:
        """Find the key that a caller sent; None where it is nobody's."""
        self._refresh()
        form = _SECRET.fullmatch(secret)
        key = (self._keys.get(form[1]) if form else None) or _NOBODY
        return key if key.opens(secret) and key is not _NOBODY else None

    def holds(self, key: Key) -> bool:
        """Whether a key that was found before is in force as it was: same secret, same role."""
        self._refresh()
        return self._keys.get(key.id) == key

    def names(self) -> Mapping[str, str]:
        """Give the names of all keys by their ids."""
        self._refresh()
        return {key.id: key.name for key in self._keys.values()}

    def check(self) -> str | None:
        """Say what is wrong with the file now; None where nothing is."""
        self._refresh()
        return self.problem

    def _refresh(self) -> None:
        state = self._state()
        if state == self._seen:
            return
        with self._lock:
            if state == self._seen:
                return
            self._seen = state
            try:
                self._keys = {key.id: key for key in read_keys(self._path)}
            except KeysError:
                self.problem = "The file of keys cannot be read; the keys of before are in force."
                logger.error("the file of keys cannot be read; the keys of before are in force")
            else:
                self.problem = None
                logger.info("keys read again", extra={"keys": len(self._keys)})

    def _state(self) -> tuple[int, ...]:
        try:
            found = self._path.stat()
        except OSError:
            return ()
        return found.st_mtime_ns, found.st_ino, found.st_size


def read_keys(path: Path) -> list[Key]:
    """Read a file of keys.

    Raises
    ------
    KeysError
        It is missing, cannot be opened, or is not such a file.
    """
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise KeysError(f"there is no file of keys at {path}.") from None
    except (OSError, UnicodeDecodeError):
        raise KeysError(f"the file of keys {path} cannot be opened and read.") from None
    try:
        document = json.loads(text)
        if document["version"] != _VERSION:
            raise ValueError(document["version"])
        keys = [Key(**entry) for entry in document["keys"]]
        if not all(map(_sound, keys)) or len({key.id for key in keys}) < len(keys):
            raise ValueError(path)
    except (KeyError, TypeError, ValueError, RecursionError):
        raise KeysError(f"the file {path} is not a file of keys, or is damaged.") from None
    return keys


def add_key(path: Path, name: str, role: Role) -> str:
    """Make a key and add it to a file, which is made if it is missing.

    Returns
    -------
    str
        The secret; it is kept nowhere.

    Raises
    ------
    KeysError
        The name is taken or cannot be one, or the file cannot be read or written.
    """
    if not _NAME.fullmatch(name):
        raise KeysError("a name has up to 64 letters, digits, dots, dashes, @ or underscores.")
    with _changing(path) as keys:
        if any(key.name == name for key in keys):
            raise KeysError(f"there is a key named {name} already.")
        key = Key(
            secrets.token_hex(8), name, role, f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", "", ""
        )
        key, secret = _with_secret(key)
        keys.append(key)
    return secret


def renew_key(path: Path, name: str) -> str:
    """Give a key another secret; the old one opens nothing any more.

    Returns
    -------
    str
        The new secret; it is kept nowhere.

    Raises
    ------
    KeysError
        There is no such key, or the file cannot be read or written.
    """
    with _changing(path) as keys:
        place = _place(keys, name)
        keys[place], secret = _with_secret(keys[place])
    return secret


def remove_key(path: Path, name: str) -> None:
    """Remove a key.

    Raises
    ------
    KeysError
        There is no such key, or the file cannot be read or written.
    """
    with _changing(path) as keys:
        del keys[_place(keys, name)]


def _place(keys: list[Key], name: str) -> int:
    for place, key in enumerate(keys):
        if key.name == name:
            return place
    raise KeysError(f"there is no key named {name}.")


def _with_secret(key: Key) -> tuple[Key, str]:
    secret = f"e2p_{key.id}_{secrets.token_urlsafe(32)}"
    salt = secrets.token_hex(16)
    return replace(key, salt=salt, hash=_hash(secret, salt)), secret


def _hash(secret: str, salt: str) -> str:
    return hashlib.blake2b(secret.encode(), digest_size=32, salt=bytes.fromhex(salt)).hexdigest()


def _sound(key: Key) -> bool:
    return (
        all(isinstance(value, str) for value in asdict(key).values())
        and key.role in ROLES
        and bool(key.id and _NAME.fullmatch(key.name))
        and all(_HEX.fullmatch(value) for value in (key.salt, key.hash))
        and (len(key.salt), len(key.hash)) == (32, 64)
    )


@contextmanager
def _changing(path: Path) -> Iterator[list[Key]]:
    """Change the keys of a file; what changes it at the same time waits."""
    try:
        folder = os.open(path.parent, os.O_RDONLY)
    except OSError:
        raise KeysError(f"there is no folder {path.parent} for the file of keys.") from None
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        keys = read_keys(path) if path.exists() else []
        yield keys
        try:
            _write(path, keys)
        except OSError as error:
            reason = error.strerror or "unknown reason"
            raise KeysError(f"the file of keys {path} cannot be written ({reason}).") from None
    finally:
        os.close(folder)


def _write(path: Path, keys: list[Key]) -> None:
    document = {"version": _VERSION, "keys": [asdict(key) for key in keys]}
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".keys-")  # with mode 0600
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(document, stream, indent=1)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
