"""The password of the servers started here: one for each Prefect home, in a file that only its owner can read."""

import os
import secrets
from pathlib import Path

FILE = "login"
USER = "neurontune"


def make_login(home: Path) -> str:
    """Return the login of a Prefect home as `user:password`; a missing one, or one that others can read, is replaced.

    PREFECT_SERVER_API_AUTH_STRING is the login if it is set.
    """
    file = home / FILE
    chosen = os.environ.get("PREFECT_SERVER_API_AUTH_STRING")
    known = read_login(home) if _is_private(file) else ""
    if known and chosen in (None, known):
        return known
    home.mkdir(parents=True, exist_ok=True)
    made = chosen or f"{USER}:{secrets.token_urlsafe(24)}"
    partial = home / f"{FILE}.{secrets.token_hex(8)}"
    with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as output:
        output.write(made)
    try:
        if known or chosen or file.exists():
            partial.replace(file)
        else:
            os.link(partial, file)  # if two commands start at once, the first one creates it
    except FileExistsError:
        return read_login(home)
    finally:
        partial.unlink(missing_ok=True)
    return made


def read_login(home: Path) -> str:
    """Return the login of the servers of a Prefect home; "" if there is none."""
    try:
        return (home / FILE).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):  # a damaged file counts as missing
        return ""


def mlflow_variables(login: str) -> dict[str, str]:
    """Return the environment variables with which MLflow's clients send a login."""
    user, _, password = login.partition(":")
    return {"MLFLOW_TRACKING_USERNAME": user, "MLFLOW_TRACKING_PASSWORD": password}


def _is_private(file: Path) -> bool:
    try:
        found = file.stat()
    except OSError:
        return False
    return found.st_uid == os.getuid() and not found.st_mode & 0o077
