"""Files that the recipe adds, laid over what packages brought."""

from __future__ import annotations

from builder.errors import READABLE, RecipeError
from builder.recipe.beside import read_file
from builder.rootfs import mergedusr
from builder.rootfs.entry import Kind
from builder.rootfs.unpack import Unpacked
from builder.stages.context import StageContext
from builder.stages.draft import Draft


def run(draft: Draft, context: StageContext, unpacked: Unpacked) -> str:  # noqa: ARG001 - every stage's shape
    """Write the files of `build.files`."""
    for extra in context.recipe.build.files:
        words = extra.path.split("/")
        if not extra.path.startswith("/") or ".." in words or extra.path.endswith("/"):
            raise RecipeError(
                f"`{extra.path}` is not the absolute path of a file",
                hint="begin with / and end with a name: /etc/motd",
                place=extra.place,
            )
        path = mergedusr.resolve("/".join(word for word in words if word not in ("", ".")))
        there = draft.get(path)
        if there is not None and there.kind is Kind.DIRECTORY:
            raise RecipeError(
                f"`{extra.path}` is a directory in the image", hint="name a file below it", place=extra.place
            )
        if extra.content is not None:
            data = extra.content.encode()
        else:
            try:
                data = read_file(extra.source) if extra.source else b""
            except OSError as error:
                raise RecipeError(
                    f"the file for `{extra.path}` cannot be read: {error.strerror}: {extra.source}",
                    hint=READABLE,
                    place=extra.place,
                ) from error
        draft.file(path, data, mode=extra.mode, uid=extra.uid, gid=extra.gid)
    return f"{len(context.recipe.build.files)} files"
