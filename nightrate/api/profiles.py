"""How paths begin: which versions there are, and which profile a client asks for.

A prefix of the path is all that an unmodified client can carry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nightrate.dialects.gemini import Profile

if TYPE_CHECKING:
    from starlette.types import Scope

VERSIONS = "v1", "v1beta", "v1alpha"
"""Aliases of one another: a resource made under one is seen under all."""

PREFIXED = Profile.EXACT
"""The profile that has a prefix; the other one is what is asked for without."""


def profile_of(scope: Scope) -> Profile:
    """Give the profile of a request that has been routed."""
    named = scope.get("path_params", {}).get("profile")
    return Profile.DOCUMENTED if named is None else Profile(named)


def prefix_of(scope: Scope) -> str:
    """Give what stands before the version in the paths of this client: ``/exact``, or nothing."""
    return f"/{PREFIXED}" if profile_of(scope) is PREFIXED else ""
