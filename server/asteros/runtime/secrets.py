"""Provider keys that callers hand over: encrypted at rest, never returned (security, part 7).

AES-256-GCM with a key of its own, beside the database and not in it: a copy of the
database alone reveals nothing. Bound to the agent's id, so that a ciphertext moved to
another agent does not open."""

import base64
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from aster.v1 import agent_pb2
from asteros import errors

_PREFIX = "aes256gcm:"
_NONCE = 12  # bytes
ENVIRONMENT = "ASTER_SECRET_KEY"  # 64 hex digits; instead of the file


class SecretBox:
    """Seals and opens short texts."""

    def __init__(self, key: bytes) -> None:
        """``key``: 32 bytes."""
        self._key = key

    @classmethod
    def of(cls, path: Path) -> "SecretBox":
        """The box of a data directory: its key is made on the first start.

        :raises RefusedToStart: the key cannot be read or is malformed."""
        given = os.environ.get(ENVIRONMENT)
        try:
            if given:
                return cls(_checked(bytes.fromhex(given)))
            if not path.exists():
                handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(handle, "w") as file:
                    file.write(secrets.token_hex(32) + "\n")
            return cls(_checked(bytes.fromhex(path.read_text(encoding="ascii").strip())))
        except (OSError, ValueError):
            where = ENVIRONMENT if given else str(path)
            raise errors.RefusedToStart(
                f"{where}: must hold a key of 64 hex digits that this process can read"
            ) from None

    def seal(self, text: str, bound_to: str) -> str:
        """The text encrypted; only ``open`` with the same ``bound_to`` gives it back."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        nonce = secrets.token_bytes(_NONCE)
        sealed = AESGCM(self._key).encrypt(nonce, text.encode(), bound_to.encode())
        return _PREFIX + base64.b64encode(nonce + sealed).decode("ascii")

    def open(self, sealed: str, bound_to: str) -> str:
        """
        :raises ProviderAuth: made with another key, or for another agent."""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        raw = base64.b64decode(sealed.removeprefix(_PREFIX))
        try:
            return AESGCM(self._key).decrypt(raw[:_NONCE], raw[_NONCE:], bound_to.encode()).decode()
        except InvalidTag:
            raise errors.ProviderAuth("the stored key of this agent cannot be opened; set it again") from None

    def seal_config(self, config: agent_pb2.AgentConfig, agent_id: str) -> None:
        """Encrypts the keys of a config in place; what is sealed already stays."""
        _each_key(config, lambda key: key if key.startswith(_PREFIX) else self.seal(key, agent_id))

    def open_config(self, config: agent_pb2.AgentConfig, agent_id: str) -> None:
        """Decrypts the keys of a config in place."""
        _each_key(config, lambda key: self.open(key, agent_id))


def _each_key(config: agent_pb2.AgentConfig, change: Callable[[str], str]) -> None:
    if not config.HasField("model_config"):
        return
    for model in (config.model_config, *config.model_config.fallbacks):
        if model.api_key:
            model.api_key = change(model.api_key)


def _checked(key: bytes) -> bytes:
    if len(key) != 32:
        raise ValueError("length")
    return key
