"""The bot's login, kept between starts: sealed with a key made from the bot's token, so that the file alone opens nothing.

Telegram limits how often a bot may log in; a service that is restarted in a circle must not run into that.
"""

import base64
import os
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


def seal(token: str) -> Fernet:
    "The box that only this token opens; one token, one key, since tokens are long and random."
    key = HKDF(SHA256(), 32, None, b"perps_kit telegram session").derive(token.encode())
    return Fernet(base64.urlsafe_b64encode(key))


def kept_session(path: Path, token: str) -> str:
    "The session in the file; nothing where there is none, or one of another bot."
    try:
        return seal(token).decrypt(path.read_bytes()).decode()
    except (OSError, InvalidToken):
        return ""


def keep_session(path: Path, token: str, session: str) -> None:
    "Write the session down, readable by its owner alone."
    path.parent.mkdir(parents=True, exist_ok=True)
    made = path.with_name(f".{path.name}.{os.getpid()}")
    made.touch(0o600)
    made.write_bytes(seal(token).encrypt(session.encode()))
    os.replace(made, path)
