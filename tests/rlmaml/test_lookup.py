"""Classes by their names."""

import re

import pytest

from rlmaml.errors import ConfigError
from rlmaml.lookup import find_class

TABLE = {"small": "fractions:Fraction", "gone": "fractions:Gone"}
NUMBER = 3


class Own:
    """A class of the user's."""


def test_a_name_of_the_table_and_one_of_ones_own():
    from fractions import Fraction

    assert find_class(TABLE, "small", "number") is Fraction
    assert find_class(TABLE, "decimal:Decimal", "number").__name__ == "Decimal"
    assert find_class({}, f"{__name__}:Own", "number") is Own


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("large", "Unknown number 'large': use one of small, gone, or MODULE:CLASS of your own."),
        ("fractions", "Unknown number 'fractions'"),
        ("fractions:", "Unknown number 'fractions:'"),
        (":Own", "Unknown number ':Own'"),
        (".fractions:Fraction", "Unknown number '.fractions:Fraction'"),
        ("gone", "Cannot import the number 'fractions:Gone': module 'fractions'"),
        ("no_such_module:Own", "Cannot import the number 'no_such_module:Own': No module"),
        (f"{__name__}:Own.inner", "Cannot import the number"),
        (f"{__name__}:NUMBER", "is no number: it is 3, and must be a class."),
        ("math:sqrt", "is no number: it is <built-in function sqrt>"),
    ],
)
def test_what_is_no_class_is_refused_with_its_name(name, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        find_class(TABLE, name, "number")


def test_a_module_that_fails_to_import_is_refused_with_its_own_message(tmp_path, monkeypatch):
    (tmp_path / "broken_module.py").write_text("import no_such_module\nclass Own: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match="No module named 'no_such_module'") as refusal:
        find_class({}, "broken_module:Own", "algorithm")
    assert isinstance(refusal.value.__cause__, ImportError)
