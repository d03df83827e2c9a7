"""Model files: named arrays and a record in one safetensors file, whole or not there at all.

Any program that reads safetensors reads the arrays; nothing in a file is ever executed. The
metadata, text under text, is ``format`` (``portable_nn``), ``schema`` (``1``, the version of what
is said here), ``record`` (a JSON object) and ``digest``: SHA-256, hexadecimal, of the JSON list
``[record,[[name,dtype,shape],...]]`` without blanks, arrays in the order of their names, and then
of the bytes of each array in that order, little-endian, last axis fastest.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from portable_nn.errors import FileError

if TYPE_CHECKING:
    from portable_nn.typing import HostArray

FORMAT = "portable_nn"
SCHEMA = "1"
LARGEST_HEADER = 100_000_000
"""Bytes; what reads safetensors refuses more."""

_BAD = (SafetensorError, KeyError, RecursionError, TypeError, ValueError)
"""What the parsers raise on bytes that are no model, and the package on what it cannot write."""


def write_model(
    path: str | os.PathLike[str], arrays: Mapping[str, HostArray], record: Mapping[str, Any]
) -> None:
    """Write a model file such that ``path`` holds, at every moment, the old one or the new one.

    The bytes go to a temporary file beside it (``.portable_nn-*.tmp``; only a process that is
    killed leaves one behind), reach the disk, and then take the name. A new file gets the usual
    permissions (umask); an old one must be writable, and hands down its own. A symbolic link
    stays, and the file it points to is written.

    Parameters
    ----------
    path
        In a folder that exists.
    arrays
        Numbers or booleans, by name, of any shape and memory layout.
    record
        JSON values, without infinities and NaN, by name.

    Raises
    ------
    FileError
        If a file cannot hold the arrays or the record, or ``path`` is a folder or a device.
    OSError
        If the system refuses: no such folder, no permission, no space.
    """
    name = _checked(path)
    try:
        data = _pack(arrays, record)
        _parse(data)  # compares the digest: what the package wrote is what was given
    except _BAD as error:
        raise FileError(f"{path}: a file cannot hold this model: {error}.") from error
    try:
        _replace(Path(os.path.realpath(name)), data)
    except OSError as error:  # which may name the temporary file
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error


def read_model(path: str | os.PathLike[str]) -> tuple[dict[str, HostArray], dict[str, Any]]:
    """Arrays (copies that are the caller's) and record of a model file, its digest compared.

    Raises
    ------
    FileError
        If it is not a whole, undamaged model file of a version that is known here.
    OSError
        If it cannot be opened.
    """
    with Path(_checked(path)).open("rb") as file:
        head = file.read(8)
        size = int.from_bytes(head, "little")
        if not head:
            raise FileError(f"{path} is empty.")
        if len(head) < 8 or not 2 <= size <= LARGEST_HEADER:
            raise FileError(f"{path} is not a safetensors file.")
        header = file.read(size)
        if len(header) < size and b"{".startswith(header[:1]):
            raise FileError(f"{path} is cut short: it ends inside its header.")
        _check_kind(path, header)
        data = head + header + file.read()  # only now, as what is not a model may be huge
    try:
        return _parse(data)
    except _BAD as error:
        raise FileError(f"{path} is damaged or cut short: {error}.") from error


def _checked(path: Any) -> str:
    """A path as text, or a ``FileError`` for what is none."""
    if not isinstance(path, str | os.PathLike) or not isinstance(os.fspath(path), str):
        raise FileError(f"a path is text or a pathlib.Path; got {path!r:.60}.")
    text = os.fspath(path)
    if not text or "\0" in text:
        raise FileError(f"there is no file of the name {text!r:.60}.")
    return text


def _check_kind(path: str | os.PathLike[str], header: bytes) -> None:
    """Raise unless the header is that of a model, of a version that is known here."""
    try:
        metadata = _object(header).get("__metadata__")
    except _BAD as error:
        raise FileError(f"{path} is damaged, or not a safetensors file: {error}.") from error
    if not isinstance(metadata, dict) or metadata.get("format") != FORMAT:
        raise FileError(f"{path} is a safetensors file, but not a model of portable_nn.")
    schema = metadata.get("schema")
    if not isinstance(schema, str) or not schema.isdecimal():
        raise FileError(f"{path} is damaged: the version of the file is no number.")
    if schema != SCHEMA:
        raise FileError(
            f"{path} is a model file of version {schema:.9}, written by a newer portable_nn; "
            f"this one reads version {SCHEMA}: update it."
        )


# -- bytes ---------------------------------------------------------------------------------


def _pack(arrays: Mapping[str, HostArray], record: Mapping[str, Any]) -> bytes:
    text = json.dumps(record, sort_keys=True, allow_nan=False, separators=(",", ":"))
    # The package writes memory as it lies there, whatever its strides.
    rows = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    metadata = {"format": FORMAT, "schema": SCHEMA, "record": text}
    return _ordered(save(rows, metadata | {"digest": _digest(rows, text)}))


def _ordered(data: bytes) -> bytes:
    """The same with its header in one order, so that equal models are equal files."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8:end]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # the arrays start on a multiple of 8
    return len(header).to_bytes(8, "little") + header + data[end:]


def _parse(data: bytes) -> tuple[dict[str, HostArray], dict[str, Any]]:
    """What ``_pack`` was given, or one of the errors in ``_BAD``."""
    found = load(data)
    arrays = {name: found[name].copy() for name in sorted(found)}
    metadata = _object(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    if _digest(arrays, metadata["record"]) != metadata["digest"]:
        raise ValueError("the content does not match the digest")
    return arrays, _object(metadata["record"])


def _digest(arrays: Mapping[str, HostArray], record: str) -> str:
    about = [[name, arrays[name].dtype.name, arrays[name].shape] for name in sorted(arrays)]
    digest = hashlib.sha256(json.dumps([record, about], separators=(",", ":")).encode())
    for name in sorted(arrays):
        little_endian = arrays[name].dtype.newbyteorder("<")
        digest.update(arrays[name].astype(little_endian, copy=False).tobytes())
    return digest.hexdigest()


def _object(text: str | bytes) -> dict[str, Any]:
    """A JSON object in which no name stands twice, or a ``ValueError``."""
    value = json.loads(text, object_pairs_hook=_once)
    if not isinstance(value, dict):
        raise ValueError("its JSON is not an object")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    named = dict(pairs)
    if len(named) < len(pairs):
        raise ValueError("a name stands twice in its JSON")
    return named


# -- the file on the disk ------------------------------------------------------------------


def _replace(target: Path, data: bytes) -> None:
    """Give ``target`` this content in one step."""
    if target.exists() and not target.is_file():
        raise FileError(f"{target} is a folder or a device; give the path of a file to save to.")
    if target.exists() and not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    temporary = target.with_name(f".portable_nn-{secrets.token_hex(8)}.tmp")
    try:
        _write(temporary, data, like=target)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def _write(path: Path, data: bytes, like: Path) -> None:
    """A new file, down on the disk, with the permissions of ``like`` if that exists."""
    with path.open("xb") as file:
        if like.exists():
            path.chmod(like.stat().st_mode & 0o777)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """The new name, down on the disk; where a system cannot, the file is whole all the same."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
