"""Tables out of files, and the numbers that are learned from them."""

import json
import random
import re
import zipfile
from io import BytesIO

import numpy as np
import pytest

from portable_nn.errors import DataError, FileError
from portable_nn.tables import (
    Columns,
    Table,
    as_classes,
    is_classes,
    read_csv,
    read_npz,
    target_values,
)

PEOPLE = "age,sex,income\n39,Male,<=50K\n50.5,Female,>50K\n-3e1,Male,>50K\n"


@pytest.fixture
def table(tmp_path):
    """Gives the table that a file of this text, or of these bytes, is read as."""

    def read(text, name="data.csv"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_csv(path)

    return read


def of(**columns):
    """A table as if read from a file, without one."""
    rows = len(next(iter(columns.values())))
    return Table("data.csv", columns, range(2, rows + 2))


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


# -- columns -------------------------------------------------------------------------------


def test_columns_become_numbers(table):
    people = table(PEOPLE)
    columns = Columns.learn(people, "income")
    assert columns.categories == {"age": None, "sex": ("Female", "Male")}
    assert columns.names == ("age", "sex=Female", "sex=Male")
    expected = np.array([[39.0, 0.0, 1.0], [50.5, 1.0, 0.0], [-30.0, 0.0, 1.0]])
    np.testing.assert_array_equal(columns.encode(people), expected, strict=True)
    assert Columns.learn(people).names[3:] == ("income=<=50K", "income=>50K")


def test_columns_stand_in_their_order():
    data = of(a=["1", "2"], b=["y", "x"], c=["3", "4"], d=["z", "z"], e=["5", "6"])
    columns = Columns.learn(data)
    assert columns.names == ("a", "b=x", "b=y", "c", "d=z", "e")
    expected = [[1, 0, 1, 3, 1, 5], [2, 1, 0, 4, 1, 6]]
    np.testing.assert_array_equal(columns.encode(data), expected)


def test_columns_are_found_by_name(table):
    columns = Columns.learn(table(PEOPLE), "income")
    other = table("more,sex,age\nx,Female,1\ny,Male,2\n")
    np.testing.assert_array_equal(columns.encode(other), [[1, 1, 0], [2, 0, 1]])


@pytest.mark.parametrize(
    "text", ["0", "1", "-1", "+1.", ".5", "1e3", "1E-3", "2e+3", "007", "1e-999"]
)
def test_numbers(text):
    assert Columns.learn(of(a=[text])).encode(of(a=[text])) == [[float(text)]]


STRANGE = [
    "",
    "?",
    "NA",
    "nan",
    "NaN",
    "-inf",
    "1e999",
    "1_0",
    "0x1",
    "١",
    "1.2.3",
    "1,5",
    ".",
    "e5",
]


@pytest.mark.parametrize("text", STRANGE)
def test_a_column_of_numbers_holds_numbers_only(text):
    odd = of(age=["1", "2", text, "3", text])
    words = re.escape(
        f"data.csv: column 'age': 2 of 5 cells are not numbers, first {text!r} in line 4; "
        "remove or fill them."
    )
    for use in (Columns.learn, Columns.learn(of(age=["1"])).encode):
        with pytest.raises(DataError, match=words):
            use(odd)
    with pytest.raises(DataError, match=words):
        target_values(odd, "age")


def test_the_greater_part_says_what_a_column_is():
    assert Columns.learn(of(a=["1", "x"])).categories == {"a": ("1", "x")}
    assert Columns.learn(of(a=["x", "", "?"])).categories == {"a": ("", "?", "x")}
    assert Columns.learn(of(a=["", "", ""])).categories == {"a": ("",)}
    with pytest.raises(DataError, match="1 of 3 cells are not numbers, first 'x'"):
        Columns.learn(of(a=["1", "x", "2"]))
    # Missing cells are on neither side.
    with pytest.raises(DataError, match="3 of 5 cells are not numbers, first '' in line 2"):
        Columns.learn(of(a=["", "nan", "?", "1", "2"]))


@pytest.mark.parametrize("texts", [["3,14", "2,5", "7"], ["1,234", "56,789", "x"], ["1,000,000.5"]])
def test_numbers_with_commas_are_no_texts(texts):
    words = f"column 'a' has numbers with commas, first '{texts[0]}' in line 2; write them"
    with pytest.raises(DataError, match=words):
        Columns.learn(of(a=texts))
    with pytest.raises(DataError, match=words):
        target_values(of(a=texts), "a")


def test_identifiers():
    names = [f"n{i}" for i in range(2002)]
    assert len(Columns.learn(of(a=names[:20])).names) == 20
    assert len(Columns.learn(of(a=[*names[:20], "n1"])).names) == 20
    assert len(Columns.learn(of(a=names[:1000] * 2)).names) == 1000
    with pytest.raises(DataError, match=r"'a' has 21 different texts in 21 rows.*identifier"):
        Columns.learn(of(a=names[:21]))
    with pytest.raises(DataError, match=r"'a' has 1001 different texts in 2002 rows.*identifier"):
        Columns.learn(of(a=names[:1001] * 2))


def test_a_missing_column():
    data = of(Age=["1"], weight=["2"])
    for use in (lambda name: Columns({name: None}).encode(data), data.cells):
        with pytest.raises(DataError, match=r"no column 'AGE' \(did you mean 'Age'\?\); it has"):
            use("AGE")
        with pytest.raises(DataError, match=r"no column 'wieght' \(did you mean 'weight'\?\)"):
            use("wieght")
        with pytest.raises(
            DataError, match=r"data\.csv has no column 'sex'; it has 'Age', 'weight'"
        ):
            use("sex")
    many = of(**{f"c{i}": ["1"] for i in range(12)})
    with pytest.raises(DataError, match=r"'c8', 'c9', ... \(12 in all\)\."):
        many.cells("zzz")


def test_a_text_that_was_not_learned():
    columns = Columns.learn(of(sex=["Male", "Female"]))
    words = "data.csv, line 3: column 'sex' is 'male'; known from the training are 'Female', 'Male'"
    with pytest.raises(DataError, match=words):
        columns.encode(of(sex=["Male", "male"]))


def test_a_table_needs_more_than_its_target():
    with pytest.raises(DataError, match="no column but the target"):
        Columns.learn(of(y=["1", "2"]), "y")
    with pytest.raises(DataError, match=r"no column 'Y' \(did you mean 'y'\?\)"):
        Columns.learn(of(y=["1", "2"]), "Y")


def test_messages_stay_short():
    long = "x" * 100_000
    with pytest.raises(DataError) as caught:
        Columns.learn(of(**{long: ["a", "b"]})).encode(of(**{long: ["a", long]}))
    assert len(str(caught.value)) < 300


# -- records -------------------------------------------------------------------------------


def test_a_record_survives_json():
    columns = Columns.learn(of(z=["1", "2"], größe=["b", 'a"\n'], empty=["", ""]))
    text = json.dumps(columns.to_record(), sort_keys=True)
    found = Columns.from_record(json.loads(text))
    assert found == columns
    assert found.names == columns.names == ("z", 'größe=a"\n', "größe=b", "empty=")


NUMBER = {"name": "a", "categories": None}


@pytest.mark.parametrize(
    "record",
    [
        None,
        [],
        "a",
        {"a": None},
        NUMBER,
        ["a"],
        [NUMBER, NUMBER],
        [{"name": "a"}],
        [{"categories": None}],
        [{"name": "", "categories": None}],
        [{"name": 1, "categories": None}],
        [{"name": "", "categories": ["b"]}],
        [{"name": "a", "categories": "bc"}],
        [{"name": "a", "categories": []}],
        [{"name": "a", "categories": ["b", 1]}],
        [{"name": "a", "categories": ["b", ["c"]]}],
        [{"name": "a", "categories": ["b", "b"]}],
        [NUMBER, {"name": "b", "categories": {"c": 1}}],
        [NUMBER, None],
    ],
)
def test_a_record_of_another_kind(record):
    assert Columns.from_record([NUMBER]) == Columns({"a": None})
    with pytest.raises(FileError, match="got"):
        Columns.from_record(record)


# -- targets -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["3", "-1", "+2"], np.array([3, -1, 2])),
        (["3.0", "1e2", "007"], np.array([3, 100, 7])),
        (["9007199254740993"], np.array([2**53 + 1])),
        (["9223372036854775807", "-9223372036854775808"], np.array([2**63 - 1, -(2**63)])),
        (["9223372036854775808", "1"], np.array([2.0**63, 1.0])),
        (["0" * 5000 + "1", "2"], np.array([1, 2])),  # int() takes no more than 4,300 digits
        (["3", "0.5"], np.array([3.0, 0.5])),
        (["yes", "no"], np.array(["yes", "no"])),
        (["1", "b"], np.array(["1", "b"])),
    ],
)
def test_targets(texts, expected):
    found = target_values(of(y=texts), "y")
    np.testing.assert_array_equal(found, expected, strict=True)


@pytest.mark.parametrize("text", ["", "?", "NA", "nan", "-Inf"])
def test_a_missing_target(text):
    with pytest.raises(DataError, match=re.escape(f"line 3: target 'y' is {text!r}; remove")):
        target_values(of(y=["yes", text, "no"]), "y")


def test_the_target_is_a_column():
    with pytest.raises(DataError, match=r"no column 'incom' \(did you mean 'income'\?\)"):
        target_values(of(income=["1"]), "incom")


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        (np.array(["a", "b"]), True),
        (np.array([b"a", b"b"]), True),
        (np.array([True, False]), True),
        (np.arange(20).repeat(2), True),
        (np.arange(21), False),
        (np.arange(20, dtype=np.uint8), True),
        (np.array([0.0, 1.0]), False),
        (np.zeros((4, 2), np.int64), False),
        (np.array([["a"]]), False),
    ],
)
def test_classes(y, classes):
    assert is_classes(y) is classes


def test_whole_numbers_are_classes_whatever_their_dtype():
    found = as_classes(np.array([1.0, -2.0, 1.0]))
    assert (found.dtype, found.tolist()) == (np.int64, [1, -2, 1])
    for y in (np.array(["a", "b"]), np.array([3, 4], dtype=np.uint8)):
        assert as_classes(y) is y
    for bad in (0.5, 1e300, np.nan):
        with pytest.raises(DataError, match="text or whole numbers; got"):
            as_classes(np.array([1.0, bad]))
