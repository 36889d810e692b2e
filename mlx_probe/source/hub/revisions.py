"""The branches and tags of a repository on the Hugging Face Hub."""

from __future__ import annotations

from mlx_probe.core.errors import SourceError
from mlx_probe.core.records import ModelRef
from mlx_probe.source.hub.errors import explained
from mlx_probe.source.hub.listing import default_endpoint

__all__ = ["list_revisions"]


def list_revisions(ref: ModelRef) -> dict[str, str]:
    """Branches and tags, in the Hub's order, each with its commit.

    Args:
        ref: The repository.

    Raises:
        UnreachableError: The Hub does not answer now.
        SourceError: There is no such repository, or access is denied.
    """
    from huggingface_hub import HfApi

    with explained(ref):
        try:
            refs = HfApi(endpoint=default_endpoint()).list_repo_refs(ref.name)
            found = [(one.name, one.target_commit) for one in (*refs.branches, *refs.tags)]
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError("the answer is not the Hub's") from error
    if not found:
        raise SourceError(f"{ref.name} has no branches and no tags", "Check the repository")
    # A branch and a tag of one name: as git does, the branch counts.
    return {str(name): str(commit) for name, commit in reversed(found)}
