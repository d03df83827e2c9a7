"""Tables out of files, and the numbers that are learned from them."""

import json
import re

import numpy as np
import pytest

from portable_nn.errors import DataError, FileError
from portable_nn.reading import read_csv
from portable_nn.tables import (
    Columns,
    Table,
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


def test_a_table_of_another_library_is_named():
    class DataFrame:
        columns = ("a",)

    for use in (Columns.learn, Columns({"a": None}).encode, lambda x: target_values(x, "a")):
        with pytest.raises(DataError, match=r"a Table, which read_csv\(path\) gives; got DataFra"):
            use(DataFrame())


def test_numbers_are_read_once(monkeypatch):
    data = of(a=["1", "2.5"], b=["x", "y"], y=["3", "4"])
    columns = Columns.learn(data, "y")
    monkeypatch.setattr("portable_nn.tables._parsed", None)
    np.testing.assert_array_equal(columns.encode(data), [[1, 1, 0], [2.5, 0, 1]])
    with pytest.raises(ValueError, match="read-only"):
        data.numbers("a")[0] = 5.0
    encoded = columns.encode(data)
    encoded[:] = 0.0
    assert data.numbers("a").tolist() == [1.0, 2.5]


@pytest.mark.parametrize("text", ["x", *STRANGE])
def test_a_number_is_one_whatever_stands_beside_it(text):
    # Alone, all cells are converted at once; beside a text, each is looked at.
    numbers = ["1", "-2.5e-3", "+.5", "7.", "1e308"]
    alone, beside = of(a=numbers).numbers("a"), of(a=[*numbers, text]).numbers("a")
    np.testing.assert_array_equal(alone, list(map(float, numbers)))
    np.testing.assert_array_equal(beside, [*alone, np.nan])


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
    with pytest.raises(DataError, match="'39', 'State-gov'; the first line of the file must name"):
        of(**{"39": ["50"], "State-gov": ["Private"]}).cells("income")
    with pytest.raises(DataError, match=r"it has 'Age', 'weight'\.$"):
        data.cells("income")
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
        (["3.0", "1e2", "-07"], np.array([3, 100, -7])),
        (["01", "2", "10"], np.array(["01", "2", "10"])),
        (["9007199254740993"], np.array([2**53 + 1])),
        (["9223372036854775807", "-9223372036854775808"], np.array([2**63 - 1, -(2**63)])),
        (["9223372036854775808", "1"], np.array([2.0**63, 1.0])),
        (["+" + "0" * 5000 + "1", "2"], np.array([1, 2])),  # int() takes 4,300 digits at most
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
