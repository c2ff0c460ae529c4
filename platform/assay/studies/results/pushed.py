"""An exported folder uploaded to a Hugging Face hub. The token comes from the environment or `hf auth login` alone."""

from __future__ import annotations

from pathlib import Path

from assay.errors import ConfigError, InputError, StorageError
from assay.model_folders import HUB_ID


def check_push(hub_id: str) -> None:
    """Refuse an upload that cannot be, before anything is written.

    Raises:
        ConfigError: no `owner/name`.
        InputError: there is no token.
    """
    from huggingface_hub import get_token

    if HUB_ID.fullmatch(hub_id) is None:
        raise ConfigError(f"--push {hub_id}: expected OWNER/NAME, as the hub calls a model; correct it")
    if get_token() is None:
        raise InputError(
            f"--push {hub_id}: saw no token of the hub; expected one; export HF_TOKEN=... or run `hf auth login`, or "
            "leave --push out and upload the folder yourself"
        )


def push_folder(folder: Path, hub_id: str) -> str:
    """Upload a folder's files into a model repository, which is made as a private one where it is new; its URL.

    Raises:
        InputError: the hub refuses the token or the name.
        StorageError: the hub cannot be reached; the folder is whole, and nothing of it is lost.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi()
    try:
        api.create_repo(hub_id, repo_type="model", private=True, exist_ok=True)
        told = api.upload_folder(repo_id=hub_id, folder_path=folder, commit_message="Exported by Assay")
    except HfHubHTTPError as error:
        status = None if error.response is None else error.response.status_code
        raise InputError(
            f"--push {hub_id}: the hub answers {status} ({_one_line(error)}); expected a token that may write there; "
            f"what was exported is in {folder}"
        ) from None
    except Exception as error:  # the client lets its HTTP library's errors through, and that library changes
        raise StorageError(
            f"--push {hub_id}: cannot reach the hub ({type(error).__name__}: {_one_line(error)}); expected a network, "
            f"and no HF_HUB_OFFLINE; what was exported is in {folder}"
        ) from None
    return str(getattr(told, "repo_url", None) or told)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
