"""Data out of files: what is a table, what is an npz file, and what is neither."""

import gzip
import random
import re
import shutil
import zipfile
from io import BytesIO
from tempfile import NamedTemporaryFile

import numpy as np
import pytest
from fresh import ROOT

import portable_nn as pnn
from portable_nn import tables
from portable_nn.errors import DataError
from portable_nn.reading import read_csv, read_npz
from portable_nn.tables import Columns, target_values

PEOPLE = "age,sex,income\n39,Male,<=50K\n50.5,Female,>50K\n-3e1,Male,>50K\n"


@pytest.fixture
def table(tmp_path):
    """Gives the table that a file of this text, or of these bytes, is read as."""

    def read(text, name="data.csv"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_csv(path)

    return read


def cells(found):
    return {name: list(column) for name, column in found.columns.items()}


# -- CSV files -----------------------------------------------------------------------------


def test_a_table(table, tmp_path):
    found = table(PEOPLE)
    assert cells(found) == {
        "age": ["39", "50.5", "-3e1"],
        "sex": ["Male", "Female", "Male"],
        "income": ["<=50K", ">50K", ">50K"],
    }
    assert list(found.lines) == [2, 3, 4]
    assert found.path == str(tmp_path / "data.csv")
    assert read_csv(found.path) == found


@pytest.mark.parametrize(
    "text",
    [
        "a,b\n1,x\n2,y",
        "a,b\r\n1,x\r\n2,y\r\n",
        "a,b\r1,x\r2,y\r",
        "a;b\n1;x\n2;y\n",
        "a\tb\n1\tx\n2\ty\n",
        "a|b\n1|x\n2|y\n",
        " a ,\tb\n  1, x\n2 ,y  \n",
        "a,b\n\n1,x\n   \n2,y\n\n\n",
        "\n \na,b\n1,x\n2,y\n",
        '"a","b"\n1,"x"\n"2", "y" \n',
        b"\xef\xbb\xbfa,b\n1,x\n2,y\n",
        b'\xef\xbb\xbf"a";"b"\r\n1;x\r\n2;y\r\n',
    ],
)
def test_the_same_table_in_other_writings(table, text):
    assert cells(table(text)) == {"a": ["1", "2"], "b": ["x", "y"]}


def test_quoted_cells_hold_what_separates_cells_and_lines(table):
    found = table('"last, first";size\n"Doe; ""J""";"5"" pipe"\n"a\nb";c"d\n\nx;y\n')
    assert cells(found) == {
        "last, first": ['Doe; "J"', "a\nb", "x"],
        "size": ['5" pipe', 'c"d', "y"],
    }
    assert list(found.lines) == [2, 3, 6]
    # A line ends in one way within cells, however it does in the file.
    assert cells(table('a,b\r\n"x\r\ny",1\r\n')) == {"a": ["x\ny"], "b": ["1"]}


@pytest.mark.parametrize("name", ["people.csv.gz", "adult.data", "people.TSV", "people"])
def test_a_file_is_known_by_what_is_in_it(name, table):
    expected = table(PEOPLE).columns
    for text in (PEOPLE, PEOPLE.replace(",", "\t")):
        for data in (text.encode(), gzip.compress(text.encode())):
            assert table(data, name).columns == expected


def test_a_damaged_gzip_file():
    whole = gzip.compress(PEOPLE.encode() * 99)
    for data in (whole[:30], whole[:-4], whole[:-8] + bytes(8), whole + b"x", whole[:2]):
        with NamedTemporaryFile(suffix=".csv.gz") as file:
            file.write(data)
            file.flush()
            with pytest.raises(DataError, match=r"\.csv\.gz is a damaged gzip file: "):
                read_csv(file.name)


def test_some_names_may_be_numbers(table):
    assert cells(table("label,0,1\n5,6,7\n")) == {"label": ["5"], "0": ["6"], "1": ["7"]}


def test_names_and_texts_in_any_script(table):
    found = table("größe,名前\n1,Zoë\n2,Ωmega\n")
    assert cells(found) == {"größe": ["1", "2"], "名前": ["Zoë", "Ωmega"]}
    assert Columns.learn(found).names == ("größe", "名前=Zoë", "名前=Ωmega")


def test_one_column_and_one_row(table):
    assert cells(table("a\n1\n")) == {"a": ["1"]}
    # An empty cell is a row where one column is all there is; an empty line is none.
    assert cells(table('a\n1\n\n""\n')) == {"a": ["1", ""]}
    assert cells(table('a,b\n,\n"",""\n')) == {"a": ["", ""], "b": ["", ""]}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty; the first line must name the columns"),
        ("\n\n  \n", "is empty"),
        ("a,b\n\n", "has names of columns and no rows"),
        ("1,2.5\n3,4\n", "must name the columns; it has '1', '2.5'"),
        ("a,b,a\n1,2,3\n", "2 columns have the name 'a'; rename"),
        ("a,,c\n1,2,3\n", "column 2 has no name"),
        ("a,b,\n1,2,3\n", "column 3 has no name"),
        ("a,b\n1,2\n\n1,2,3\n", "line 4 has 3 cells; the first line names 2 columns"),
        ('a,b\n"x\ny",2\n1\n', "line 4 has 1 cells; the first line names 2 columns"),
        ('a,b\n1,2\n3,"4\n5,6\n7,8\n', "line 3: a quote is opened and never closed"),
        ('a,"b\n1,2\n', "line 1: a quote is opened and never closed"),
        (f"a,b\n1,2\n3,{'4' * 200_000}\n", "line 3: field larger than field limit"),
        (b"a,b\n1,2\r3,\xe9\n", "line 3 is not UTF-8; save the file as UTF-8"),
        (b"PK\x03\x04\x14\0", "is an archive, a spreadsheet perhaps; save it as CSV"),
        ("a,b\n1,é\n".encode("utf-16"), "line 1 is not UTF-8"),
        ("a,b\n1,2\n".encode("utf-16-le"), "line 1 has a NUL byte"),
        ("a,b\n1,2\n3,\0\n", "line 3 has a NUL byte"),
    ],
)
def test_what_is_no_table(table, text, words):
    with pytest.raises(DataError, match=r"data\.csv.*" + re.escape(words)):
        table(text)


@pytest.mark.parametrize("read", [read_csv, read_npz])
def test_what_cannot_be_read_at_all_stays_the_systems_error(read, tmp_path):
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "absent")
    with pytest.raises(OSError):
        read(tmp_path)


def test_any_file_gives_a_table_or_an_error_of_ours(table):
    choose = random.Random(5)
    pieces = [
        *'a1?,;\t|" \n\n\n\r.-',
        "\r\n",
        '"x,y"',
        "nan",
        "1e999",
        "é",
        "\ufeff",
        "\u2028",
        "\0",
    ]
    outcomes = set()
    for _ in range(1000):
        text = "".join(choose.choices(pieces, k=choose.randrange(40)))
        data = ("a,b\n" if choose.random() < 0.5 else "").encode() + text.encode()
        if choose.random() < 0.1:
            data += choose.randbytes(3)
        try:
            found = table(data)
            outcomes.add("table")
            target_values(found, next(iter(found.columns)))
            columns = Columns.learn(found)
            assert columns.encode(found).shape == (len(found.lines), len(columns.names))
            outcomes.add("numbers")
        except DataError as error:
            assert "data.csv" in str(error)
            outcomes.add("error")
    assert outcomes == {"table", "numbers", "error"}


# -- npz files -----------------------------------------------------------------------------


def saved(tmp_path, **arrays):
    path = tmp_path / "data.npz"
    np.savez(path, **arrays)
    return path


def test_arrays(tmp_path):
    x, y = np.arange(6, dtype=np.float32).reshape(3, 2), np.array(["b", "a", "b"])
    for given in ({"x": x}, {"y": y, "x": x}, {"more": y, "x": x, "y": np.stack([y, y], 1)}):
        found = read_npz(saved(tmp_path, **given))
        np.testing.assert_array_equal(found[0], x, strict=True)
        if "y" in given:
            np.testing.assert_array_equal(found[1], given["y"], strict=True)
        else:
            assert found[1] is None
    np.savez_compressed(tmp_path / "small.npz", x=x)
    np.testing.assert_array_equal(read_npz(str(tmp_path / "small.npz"))[0], x, strict=True)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"X": np.ones((2, 2)), "y": np.ones(2)}, "no array 'x'; it has 'X', 'y'"),
        ({}, "no array 'x'; it has none"),
        ({"x": np.array([[1, None]])}, "holds Python objects: .*allow_pickle"),
        ({"x": np.ones((2, 2)), "y": np.array([1, None])}, "holds Python objects"),
        ({"x": np.ones(3)}, r"x is \(rows, features\).*got x \(3,\)\."),
        ({"x": np.float64(3)}, r"got x \(\)"),
        ({"x": np.ones((3, 2)), "y": np.ones(2)}, r"got x \(3, 2\) and y \(2,\)"),
        ({"x": np.ones((3, 2)), "y": np.float64(3)}, r"and y \(\)"),
    ],
)
def test_arrays_of_another_kind(tmp_path, arrays, words):
    with pytest.raises(DataError, match=r"data\.npz.*" + words):
        read_npz(saved(tmp_path, **arrays))


def test_what_is_no_npz_file(tmp_path):
    path = tmp_path / "data.npz"
    single = BytesIO()
    np.save(single, np.ones((2, 2)))
    for data in (b"", PEOPLE.encode(), single.getvalue()):
        path.write_bytes(data)
        with pytest.raises(DataError, match=r"data\.npz is not an npz file; numpy\.savez"):
            read_npz(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x", b"1,2,3")
    with pytest.raises(DataError, match=r"x is \(rows, features\)"):
        read_npz(path)


def test_a_damaged_npz_file_gives_its_arrays_or_an_error_of_ours(tmp_path):
    choose = random.Random(6)
    path = tmp_path / "data.npz"
    np.savez_compressed(path, x=np.arange(40.0).reshape(8, 5), y=np.arange(8))
    whole = path.read_bytes()
    errors = 0
    for _ in range(300):
        data = bytearray(whole)
        for place in choose.sample(range(len(data)), k=3):
            data[place] = choose.randrange(256)
        path.write_bytes(data[: choose.choice([len(data), choose.randrange(len(data))])])
        try:
            assert read_npz(path)[0].ndim == 2
        except DataError as error:
            assert "data.npz" in str(error)
            errors += 1
    assert errors > 150


def test_the_lines_of_the_docstring_run_as_written(tmp_path, monkeypatch):
    for name in ("people.csv", "new.csv"):
        shutil.copy(ROOT / "examples" / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    lines = re.findall(r"^>>> (.*)$", tables.__doc__, re.MULTILINE)
    names = vars(pnn) | vars(tables) | {"read_csv": read_csv}
    for line in lines[:-1]:
        exec(line, names)
    assert len(lines) > 5
    assert names["load"]("kinds.safetensors").columns == names["columns"]
    assert eval(lines[-1], names).tolist() == ["young", "north"]
