"""Container images that are part of a slot: made from packages or taken from OCI layouts, unpacked, used in place."""

from builder.images.bake import bake

__all__ = ["bake"]
