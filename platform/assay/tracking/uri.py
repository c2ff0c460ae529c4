"""What a tracking URI must not hold: it is printed, and stored with results."""

from __future__ import annotations

from urllib.parse import urlsplit

from assay.errors import ConfigError
from assay.storage_uri import secret_parameters


def check_tracking_uri(uri: str, field: str) -> str:
    """The URI as it is.

    Args:
        uri: where MLflow runs go.
        field: the flag or field that gave it.

    Raises:
        ConfigError: it holds a user, a password or a key, or is no URI.
    """
    try:
        has_secret = "@" in urlsplit(uri).netloc or secret_parameters(uri)
    except ValueError as error:
        raise ConfigError(f"{field}: saw no URI ({error}); expected sqlite:///FILE or http://HOST:5000") from None
    if has_secret:
        raise ConfigError(
            f"{field}: saw a user or password in it; expected none, since it is printed and stored; set "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or name the server in front of the database"
        )
    return uri
