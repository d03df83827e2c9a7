"""Model files: what goes in comes out, on any disk and in any mishap, or a clear error."""

import errno
import hashlib
import json
import os
import pickle
import stat
import time
from contextlib import suppress

import fresh
import numpy as np
import pytest
import safetensors
import safetensors.numpy
import ways

from portable_nn.errors import FileError
from portable_nn.files import read_model, write_model

RNG = np.random.default_rng(5)
TABLE = RNG.standard_normal((5, 7))
ARRAYS = {"dense1.weight": TABLE.astype(np.float32), "dense1.bias": np.arange(7, dtype=np.int64)}
RECORD = {
    "layers": [{"class": "Dense", "rate": 0.1}],
    "names": ["é", "日本", "\ud800", '"\n'],
    "n": 3,
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def assert_same(found, arrays=ARRAYS, record=RECORD):
    """The same names, dtypes, shapes, bits, and the same record."""
    assert sorted(found[0]) == sorted(arrays)
    for name, array in arrays.items():
        assert found[0][name].dtype == array.dtype.newbyteorder("=")
        assert found[0][name].shape == array.shape
        assert found[0][name].tobytes() == array.astype(array.dtype.newbyteorder("=")).tobytes()
    assert found[1] == record


def craft(header, data=b""):
    """A file of this header, as JSON or as bytes."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def metadata_of(record, about=(), data=b""):
    """Metadata with the digest that the module's docstring describes."""
    text = record if isinstance(record, str) else json.dumps(record, separators=(",", ":"))
    head = json.dumps([text, about], separators=(",", ":")).encode()
    digest = hashlib.sha256(head + data).hexdigest()
    return {"format": "portable_nn", "schema": "1", "record": text, "digest": digest}


# -- there and back ------------------------------------------------------------------------

LAYOUTS = {
    "plain": TABLE,
    "transposed": TABLE.T,
    "Fortran": np.asfortranarray(TABLE),
    "every other": TABLE[::2, ::3],
    "backwards": TABLE[::-1, ::-1],
    "broadcast": np.broadcast_to(TABLE[0], (4, 7)),
    "one number": np.array(2.5),
    "one row, strided": TABLE[1:2, ::2],
    "no rows": np.zeros((0, 3)),
    "no columns": np.zeros((3, 0), order="F"),
    "nothing three times": np.zeros((0, 2, 0)),
    "big-endian": TABLE.astype(">f8"),
    "unaligned": np.frombuffer(b"x" + TABLE.tobytes(), dtype=np.float64, offset=1),
    "not a number": np.array([np.nan, -np.nan, np.inf, -0.0, 5e-324]),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_any_layout_comes_back_bit_for_bit(path, name):
    array = LAYOUTS[name]
    before = array.tobytes()
    write_model(path, {name: array}, RECORD)
    assert_same(read_model(path), {name: array})
    assert array.tobytes() == before


@pytest.mark.parametrize(
    "dtype", ["float16", "float32", "float64", "int8", "int64", "uint8", "bool"]
)
def test_dtypes_come_back(path, dtype):
    arrays = {"some": (10 * TABLE).astype(np.int8).astype(dtype), "one": np.ones((), dtype)}
    write_model(path, arrays, {})
    assert_same(read_model(path), arrays, {})


def test_a_read_only_array_can_be_written_and_comes_back_writable(path):
    array = TABLE.copy()
    array.flags.writeable = False
    write_model(path, {"a": array}, {})
    found, _ = read_model(path)
    found["a"][:] = 0.0
    assert found["a"].flags.owndata
    assert_same(read_model(path), {"a": array}, {})


def test_a_network_without_parameters(path):
    write_model(path, {}, RECORD)
    assert_same(read_model(path), {})


def test_the_order_of_names_does_not_count(path):
    arrays = {f"w{number}": np.full(number % 3, 1.0) for number in reversed(range(20))}
    write_model(path, arrays, dict(reversed(RECORD.items())))
    found = read_model(path)
    assert_same(found, arrays)
    assert list(found[0]) == sorted(arrays)


def test_torch_reads_it(path):
    ways.open_way("torch")
    from safetensors.torch import load_file

    write_model(path, {**ARRAYS, "t": TABLE.T, "one": np.float32(3.0)}, RECORD)
    found = load_file(path)
    assert sorted(found) == ["dense1.bias", "dense1.weight", "one", "t"]
    assert found["one"].shape == ()
    np.testing.assert_array_equal(found["t"].numpy(), TABLE.T)
    np.testing.assert_array_equal(found["dense1.bias"].numpy(), ARRAYS["dense1.bias"])


def test_the_metadata_is_what_the_module_says(path):
    write_model(path, ARRAYS, RECORD)
    with safetensors.safe_open(path, framework="np") as file:
        metadata = file.metadata()
    about = [["dense1.bias", "int64", [7]], ["dense1.weight", "float32", [5, 7]]]
    data = ARRAYS["dense1.bias"].tobytes() + ARRAYS["dense1.weight"].tobytes()
    text = json.dumps(RECORD, sort_keys=True, separators=(",", ":"))
    assert metadata == metadata_of(text, about, data)


def test_a_file_of_schema_1_stays_readable(path):
    """Written by the first version; if this fails, files that users have are lost."""
    header = (
        b'{"__metadata__":{"format":"portable_nn","schema":"1","record":"{\\"rate\\":0.1}",'
        b'"digest":"d5ba6363bebbff035a8304441670a6ad461e8c5e96eedc5e65cb1dd10d711a9a"},'
        b'"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
    )
    path.write_bytes(craft(header, b"\x00\x00\x80?\x00\x00\x00\xc0"))
    assert_same(read_model(path), {"w": np.array([1, -2], np.float32)}, {"rate": 0.1})


@pytest.mark.parametrize(
    ("arrays", "record"),
    [
        pytest.param({"a": np.array(["text"])}, {}, id="text"),
        pytest.param({"a": np.array([None])}, {}, id="objects"),
        pytest.param({"a": np.zeros(2, complex)}, {}, id="complex128"),
        pytest.param({"a": np.zeros(2, "M8[s]")}, {}, id="dates"),
        pytest.param({"a": np.zeros(2, [("b", "f4")])}, {}, id="structures"),
        pytest.param({"__metadata__": TABLE}, {}, id="a name with a meaning"),
        pytest.param({"\ud800": TABLE}, {}, id="half a character"),
        pytest.param({}, {"rate": float("nan")}, id="NaN"),
        pytest.param({}, {"array": TABLE}, id="an array in the record"),
    ],
)
def test_what_a_file_cannot_hold_is_refused_before_the_old_file_is_touched(path, arrays, record):
    path.write_text("old")
    with pytest.raises(FileError, match=r"model.safetensors: a file cannot hold this model"):
        write_model(path, arrays, record)
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_bytes_that_say_something_else_are_not_written(path, monkeypatch):
    """As safetensors 0.8.0 writes any array that is not C-contiguous."""
    wrong = {name: array + 1 for name, array in ARRAYS.items()}
    honest = safetensors.numpy.save
    monkeypatch.setattr("portable_nn.files.save", lambda rows, about: honest(wrong, about))
    with pytest.raises(FileError, match="does not match the digest"):
        write_model(path, ARRAYS, RECORD)
    assert not path.exists()


# -- files that are no models --------------------------------------------------------------

ABOUT = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
GOOD = metadata_of({}, [["a", "float32", [1]]], b"1234")
NOT_MODELS = {
    "empty": (b"", r"is empty\.$"),
    "three bytes": (b"abc", r"is not a safetensors file\.$"),
    "text": (b"weight,bias\n1,2\n3,4\n", r"is not a safetensors file\.$"),
    "a zip": (b"PK\x03\x04\x14\x00\x08\x08" * 9, r"is not a safetensors file\.$"),
    "a pickle": (pickle.dumps(list(range(99))), r"is not a safetensors file\.$"),
    "zeros": (bytes(99), r"is not a safetensors file\.$"),
    "a huge header": (b"\xff" * 8 + b"{}", r"is not a safetensors file\.$"),
    "a header of 9 numbers": (craft(b"123456789"), "is damaged, or not a safetensors file"),
    "a list": (craft([]), "is damaged, or not a safetensors file: its JSON is not an object"),
    "no UTF-8": (craft(b'{"\xff":1}'), "is damaged, or not a safetensors file"),
    "deep": (craft(b'{"a":' + b"[" * 10**6), "is damaged, or not a safetensors file"),
    "deep and closed": (
        craft(b'{"a":' + b"[" * 10**5 + b"]" * 10**5 + b"}"),
        "is damaged, or not a safetensors file",
    ),
    "a number of 9000 digits": (
        craft(b'{"a":' + b"9" * 9000 + b"}"),
        "is damaged, or not a safetensors file",
    ),
    "a name twice": (craft(b'{"a":{},"a":{}}'), "a name stands twice"),
    "metadata twice": (craft(b'{"__metadata__":{},"__metadata__":{}}'), "a name stands twice"),
    "cut after the length": (craft({"a": ABOUT})[:8], "is cut short: it ends inside its header"),
    "cut in the header": (craft({"a": ABOUT})[:20], "is cut short: it ends inside its header"),
    "no metadata": (craft({"a": ABOUT}, b"1234"), "but not a model of portable_nn"),
    "metadata null": (craft({"__metadata__": None}), "but not a model of portable_nn"),
    "metadata a list": (craft({"__metadata__": ["format"]}), "but not a model of portable_nn"),
    "of torch": (
        craft({"__metadata__": {"format": "pt"}, "a": ABOUT}, b"1234"),
        "is a safetensors file, but not a model of portable_nn",
    ),
    "no version": (
        craft({"__metadata__": {"format": "portable_nn"}}),
        "is damaged: the version of the file is no number",
    ),
    "newer": (
        craft({"__metadata__": {"format": "portable_nn", "schema": "2", "record": 7}}),
        "of version 2, written by a newer portable_nn; this one reads version 1",
    ),
}


@pytest.mark.parametrize("name", NOT_MODELS)
def test_what_is_no_model_is_named_and_said(path, name):
    content, said = NOT_MODELS[name]
    path.write_bytes(content)
    with pytest.raises(FileError, match=said) as caught:
        read_model(str(path))
    assert str(caught.value).startswith(f"{path} is ")


def test_the_crafted_file_is_read_when_nothing_is_wrong_with_it(path):
    path.write_bytes(craft({"__metadata__": GOOD, "a": ABOUT}, b"1234"))
    assert_same(read_model(path), {"a": np.frombuffer(b"1234", np.float32)}, {})


DAMAGED = {
    "digest of another": (GOOD | {"digest": "0" * 64}, {"a": ABOUT}, b"1234"),
    "no digest": ({name: GOOD[name] for name in GOOD if name != "digest"}, {"a": ABOUT}, b"1234"),
    "no record": ({name: GOOD[name] for name in GOOD if name != "record"}, {"a": ABOUT}, b"1234"),
    "another record": (GOOD | {"record": '{"a":1}'}, {"a": ABOUT}, b"1234"),
    "record no text": (GOOD | {"record": 7}, {"a": ABOUT}, b"1234"),
    "other bytes": (GOOD, {"a": ABOUT}, b"1235"),
    "cut": (GOOD, {"a": ABOUT}, b"123"),
    "longer": (GOOD, {"a": ABOUT}, b"12345"),
    "another name": (GOOD, {"b": ABOUT}, b"1234"),
    "another dtype": (GOOD, {"a": ABOUT | {"dtype": "I32"}}, b"1234"),
    "another shape": (GOOD, {"a": ABOUT | {"shape": [1, 1]}}, b"1234"),
    "a dtype NumPy has not": (GOOD, {"a": ABOUT | {"dtype": "BF16", "shape": [2]}}, b"1234"),
    "a dtype nobody has": (GOOD, {"a": ABOUT | {"dtype": "Q7"}}, b"1234"),
    "a huge shape": (GOOD, {"a": ABOUT | {"shape": [2**62, 4]}}, b"1234"),
    "a huge and empty shape": (
        GOOD,
        {"a": {"dtype": "F32", "shape": [2**63, 0], "data_offsets": [0, 0]}},
        b"",
    ),
    "99 dimensions": (GOOD, {"a": ABOUT | {"shape": [1] * 99}}, b"1234"),
    "offsets backwards": (GOOD, {"a": ABOUT | {"data_offsets": [4, 0]}}, b"1234"),
    "record a list": (metadata_of([]), {}, b""),
    "record a number": (metadata_of(7), {}, b""),
    "record no JSON": (metadata_of("{"), {}, b""),
    "record with a name twice": (metadata_of('{"a":1,"a":2}'), {}, b""),
    "record deep": (metadata_of('{"a":' + "[" * 10**5 + "]" * 10**5 + "}"), {}, b""),
    "record of 9000 digits": (metadata_of('{"a":' + "9" * 9000 + "}"), {}, b""),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_model_is_never_read(path, name):
    metadata, arrays, data = DAMAGED[name]
    path.write_bytes(craft({"__metadata__": metadata, **arrays}, data))
    with pytest.raises(FileError, match=r"is damaged or cut short: .*\.$") as caught:
        read_model(path)
    assert str(caught.value).startswith(f"{path} is ")


def _mutant(data, rng):
    """One to three changes of a byte, of the length, or of the order."""
    for _ in range(rng.integers(1, 4)):
        at, other = sorted(rng.integers(0, max(len(data), 1), 2))
        byte = bytes([rng.integers(256)])
        bit = bytes([data[at] ^ (1 << rng.integers(8))]) if data else b""
        data = [
            data[:at] + byte + data[at + 1 :],
            data[:at] + bit + data[at + 1 :],
            data[:at] + byte + data[at:],
            data[:at] + data[at + 1 :],
            data[:at],
            data[:at] + data[other:],
            data[:other] + data[at:],
            rng.integers(300).item().to_bytes(8, "little") + data[8:],
        ][rng.integers(8)]
    return data


def test_no_mutation_is_read_as_something_else(path):
    rng = np.random.default_rng(11)
    write_model(path, {"w": TABLE[:2].T, "on": np.array([True, False])}, RECORD)
    good = path.read_bytes()
    read = 0
    for _ in range(2000):
        path.write_bytes(_mutant(good, rng))
        with suppress(FileError):
            assert_same(read_model(path), {"w": TABLE[:2].T, "on": np.array([True, False])})
            read += 1
    assert read < 400  # what changed nothing: a blank of the padding, a swap of equal bytes


def test_no_byte_can_change_unseen(path):
    write_model(path, {"w": TABLE[0]}, RECORD)
    good = path.read_bytes()
    padding = 0
    for at in range(len(good)):
        path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        with suppress(FileError):
            read_model(path)
            padding += 1
    assert padding == 0


def test_a_missing_file_and_a_folder_are_the_systems_errors(path):
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors"):
        read_model(path)
    with pytest.raises(OSError, match=path.parent.name):
        read_model(path.parent)


# -- the file on the disk ------------------------------------------------------------------


@pytest.fixture
def umask():
    """Set the umask until the test ends."""
    before = os.umask(0)
    os.umask(before)
    yield os.umask
    os.umask(before)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.skipif(os.name == "nt", reason="permissions as POSIX has them")
@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_a_new_file_has_the_usual_permissions(path, umask, mask):
    umask(mask)
    write_model(path, ARRAYS, RECORD)
    (path.parent / "usual").write_text("")
    assert mode(path) == mode(path.parent / "usual") == 0o666 & ~mask


@pytest.mark.skipif(os.name == "nt", reason="permissions as POSIX has them")
@pytest.mark.parametrize("kept", [0o600, 0o664, 0o640])
def test_an_old_file_hands_down_its_permissions(path, umask, kept):
    path.write_text("old")
    path.chmod(kept)
    umask(0o027)
    write_model(path, ARRAYS, RECORD)
    assert mode(path) == kept
    assert_same(read_model(path))


def test_a_write_protected_file_stays(path, monkeypatch):
    path.write_text("old")
    monkeypatch.setattr(os, "access", lambda found, wanted: False)  # root may write everywhere
    with pytest.raises(PermissionError, match=r"model\.safetensors"):
        write_model(path, ARRAYS, RECORD)
    assert path.read_text() == "old"


@pytest.mark.parametrize("target", ["there", "missing"])
def test_a_symbolic_link_stays_one(tmp_path, target):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    if target == "there":
        (folder / target).write_text("old")
    (tmp_path / "second").symlink_to(folder / target)
    (tmp_path / "link").symlink_to("second")
    write_model(tmp_path / "link", ARRAYS, RECORD)
    assert str((tmp_path / "link").readlink()) == "second"
    assert not (folder / target).is_symlink()
    assert_same(read_model(folder / target))
    assert_same(read_model(tmp_path / "link"))
    assert names(tmp_path) == ["elsewhere", "link", "second"]
    assert names(folder) == [target]


class Somewhere:
    def __init__(self, path):
        self.path = path

    def __fspath__(self):
        return str(self.path)


@pytest.mark.parametrize("kind", [str, Somewhere, lambda path: path.name])
def test_paths_of_every_kind(path, monkeypatch, kind):
    monkeypatch.chdir(path.parent)
    write_model(kind(path), ARRAYS, RECORD)
    write_model(kind(path), ARRAYS, {})
    assert_same(read_model(kind(path)), ARRAYS, {})
    assert list(path.parent.iterdir()) == [path]


def test_a_long_name_has_room(tmp_path):
    path = tmp_path / ("n" * 255)
    write_model(path, ARRAYS, RECORD)
    assert_same(read_model(path))


@pytest.mark.parametrize("make", ["mkdir", "mkfifo"])
def test_a_folder_or_a_device_is_not_replaced(path, make):
    getattr(os, make)(path)
    with pytest.raises(FileError, match=r"model\.safetensors is a folder or a device"):
        write_model(path, ARRAYS, RECORD)
    assert not path.is_file()
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_named_as_the_user_wrote_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"No such file .*: 'no/model\.safetensors'$"):
        write_model("no/model.safetensors", ARRAYS, RECORD)


def fail_at(monkeypatch, name, error):
    def fail(*args):
        raise error

    monkeypatch.setattr(os, name, fail)


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("old", [True, False])
@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt(), MemoryError()]
)
def test_what_goes_wrong_leaves_the_old_file_and_nothing_else(path, monkeypatch, step, old, error):
    if old:
        write_model(path, ARRAYS, {"old": True})
    fail_at(monkeypatch, step, error)
    with pytest.raises(type(error)) as caught:
        write_model(path, ARRAYS, RECORD)
    assert list(path.parent.iterdir()) == ([path] if old else [])
    if old:
        assert_same(read_model(path), ARRAYS, {"old": True})
    if isinstance(error, OSError):
        assert str(caught.value).endswith(f"No space left on device: '{path}'")


def test_the_bytes_reach_the_disk_before_the_name_and_the_name_before_the_end(path, monkeypatch):
    write_model(path, ARRAYS, RECORD)
    size, events, honest = path.stat().st_size, [], os.replace

    def fsync(descriptor):
        found = os.fstat(descriptor)
        what = ("folder",) if stat.S_ISDIR(found.st_mode) else ("file", found.st_size)
        events.append(("fsync", *what, found.st_ino))

    def replace(source, target):
        events.append(("replace", source.stat().st_ino, source.parent.stat().st_ino))
        honest(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    write_model(path, ARRAYS, RECORD)
    new, folder = path.stat().st_ino, path.parent.stat().st_ino
    assert events == [
        ("fsync", "file", size, new),
        ("replace", new, folder),
        ("fsync", "folder", folder),
    ]


def test_a_system_that_cannot_sync_a_folder_saves_all_the_same(path, monkeypatch):
    honest = os.fsync

    def fsync(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        honest(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    write_model(path, ARRAYS, RECORD)
    assert_same(read_model(path))


SAVE_FOR_EVER = """
import itertools, sys
import numpy as np
from portable_nn.files import write_model

for version in itertools.count():
    write_model(sys.argv[1], {"w": np.full(200_000, float(version % 2))}, {"version": version % 2})
    if version == 1:
        print("saving", flush=True)
"""


def test_a_killed_save_leaves_the_old_file_or_the_new(path):
    """Killed at random moments; and read all the time, as a kill at that moment would leave it."""
    rng, reads = np.random.default_rng(0), {0: 0, 1: 0}

    def check():
        arrays, record = read_model(path)
        assert arrays["w"].shape == (200_000,)
        assert (arrays["w"] == record["version"]).all()
        reads[record["version"]] += 1

    for _ in range(6):
        with fresh.start("-c", SAVE_FOR_EVER, str(path)) as process:
            try:
                assert process.stdout.readline() == "saving\n", process.stderr.read()
                until = time.monotonic() + rng.uniform(0.05, 0.2)
                while time.monotonic() < until:
                    check()
            finally:
                process.kill()
        check()
    others = [found.name for found in path.parent.iterdir() if found != path]
    assert all(name.startswith(".portable_nn-") and name.endswith(".tmp") for name in others)
    assert min(reads.values()) > 10  # it was saving
