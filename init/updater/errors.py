"""How an update can end badly: refused by a rule (asking again changes nothing), or failed (the next try may work)."""

from __future__ import annotations


class UpdateError(Exception):
    """Why there is no update, as a sentence for people."""


class RefusedError(UpdateError):
    """A rule forbids this release: who signed it, its order, its class, its loader, its size."""


class FailedError(UpdateError):
    """Something did not work: the network, the disk, the repository's server."""
