"""What went wrong with the hub, in one line that says what to do."""

from __future__ import annotations

import errno

from sds3d.errors import UserError
from sds3d.priors.hub_files import INDEX
from sds3d.priors.hub_reference import Reference, cache_folder, endpoint, page

LIBRARIES = ("httpx", "httpx2", "httpcore", "httpcore2", "requests", "urllib3")  # whose errors are the network's


class Unreachable(UserError):
    """There is no way to the hub now: another repository would fare no better."""


def explain(reference: Reference, error: Exception) -> UserError:
    """One line that says what went wrong with the hub and what to do; what is not the hub's error is raised again."""
    from huggingface_hub import errors

    if isinstance(error, UserError):
        return error
    if isinstance(error, errors.LocalEntryNotFoundError) and isinstance(error.__cause__, Exception):
        return explain(reference, error.__cause__)
    if isinstance(error, errors.GatedRepoError):
        return UserError(f"{reference.repo} is gated: accept its licence at {page(reference)}, then run: hf auth login")
    if isinstance(error, errors.DisabledRepoError):
        return UserError(f"{reference.repo} has been disabled on the hub: choose another model")
    if isinstance(error, errors.RevisionNotFoundError):
        return UserError(f"{reference.repo} has no revision {reference.revision!r}: look at {page(reference)}")
    if isinstance(error, errors.EntryNotFoundError):
        return UserError(f"{reference.repo} lacks a file that its {INDEX} names: choose another model")
    if isinstance(error, errors.HFValidationError):
        return UserError(f"{reference.repo!r} is no name of a model: it is written owner/name")
    if isinstance(error, errors.HfHubHTTPError):
        status = error.response.status_code if error.response is not None else "no status"
        if status in (401, 404):  # 401 is also the answer for a name that nobody has
            return UserError(
                f"there is no model {reference.repo} on the hub, nor a folder of that name here: check the spelling; "
                "if it is private, run: hf auth login"
            )
        return UserError(f"the hub answered {status} for {reference}: try again later; what was fetched is kept")
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return UserError(f"the disk is full ({cache_folder()}): free some space, or set HF_HOME to another folder")
    if isinstance(error, (ConnectionError, TimeoutError)) or _from_network(error):
        return Unreachable(
            f"cannot reach {endpoint()} ({_line(error)}): check the network; a model that is on this machine is given "
            "as --prior FOLDER"
        )
    if isinstance(error, OSError):
        return UserError(f"cannot fetch {reference}: {_line(error)}; run it again, what was fetched is kept")
    raise error


def _from_network(error: BaseException) -> bool:
    """Whether an error, or what caused it, is of an HTTP library."""
    causes = (error, error.__cause__, error.__context__)
    return any(c is not None and type(c).__module__.partition(".")[0] in LIBRARIES for c in causes)


def _line(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:120]
