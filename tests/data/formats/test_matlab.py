import sys
from pathlib import Path

import pytest

from efface.data.formats.matlab import load_mat, need_scipy
from efface.errors import InputError


def test_a_file_of_another_kind_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.mat").write_bytes(b"no mat")
    with pytest.raises(InputError, match=r"a.mat' cannot be read"):
        load_mat(tmp_path / "a.mat")


def test_without_scipy_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(InputError, match="here holds MATLAB files") as caught:
        need_scipy("here")
    assert caught.value.hint == "pip install scipy"
