"""One JSON object of an OCI layout, read field by field. A stranger wrote it: nothing in it is taken to be there."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from builder.errors import VerificationError


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """The fields of an object; `where` says which file it stands in, for people.

    Each method raises VerificationError for a field that is missing or of another kind. `null` is as good as missing,
    as the programs that write such documents hold it.
    """

    where: str
    fields: dict[str, Any]

    def text(self, key: str) -> str:
        """Return a string."""
        value = self.fields.get(key)
        if not isinstance(value, str):
            raise self._wrong(key, "a string")
        return value

    def child(self, key: str) -> Document:
        """Return an object."""
        return self._within(self.fields.get(key), key)

    def optional(self, key: str) -> Document:
        """Return an object, an empty one where there is none."""
        value = self.fields.get(key)
        return self._within({} if value is None else value, key)

    def children(self, key: str) -> tuple[Document, ...]:
        """Return a list's objects."""
        return tuple(self._within(value, f"{key}[{at}]") for at, value in enumerate(self._list(key)))

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list's strings."""
        values = self._list(key)
        if not all(isinstance(value, str) for value in values):
            raise self._wrong(key, "a list of strings")
        return tuple(values)

    def _list(self, key: str) -> list[Any]:
        value = self.fields.get(key)
        if not isinstance(value, list):
            raise self._wrong(key, "a list")
        return value

    def _within(self, value: object, key: str) -> Document:
        if not isinstance(value, dict):
            raise self._wrong(key, "an object")
        return Document(where=f"{self.where}, `{key}`", fields=value)

    def _wrong(self, key: str, kind: str) -> VerificationError:
        return VerificationError(f"{self.where}: `{key}` is missing, or not {kind}")


def read_document(data: bytes, where: str) -> Document:
    """Read a file that is one JSON object; raise VerificationError."""
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise VerificationError(f"{where}: it is no JSON") from error
    if not isinstance(fields, dict):
        raise VerificationError(f"{where}: it is no JSON object")
    return Document(where=where, fields=fields)
