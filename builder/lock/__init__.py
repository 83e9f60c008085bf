"""Which packages make an image: solving, locking, healing."""

from builder.lock.file import read_lock, write_lock

__all__ = ["read_lock", "write_lock"]
