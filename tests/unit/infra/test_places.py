"""Folders: which ones another user can reach."""

from infra.places import copy_tree_once, data_dir, readable_by_all


def test_a_folder_below_a_private_one_is_not_readable_by_all(tmp_path_factory):
    top = tmp_path_factory.mktemp("top")
    inner = top / "inner"
    inner.mkdir(mode=0o755)
    top.chmod(0o700)
    assert not readable_by_all(inner)


def test_the_root_folder_is_readable_by_all(tmp_path):
    assert readable_by_all(type(tmp_path)("/"))


def test_the_data_folder_is_the_configured_one(tmp_path, monkeypatch):
    monkeypatch.setenv("HOURBOOK_DATA", str(tmp_path / "elsewhere"))
    assert data_dir() == tmp_path / "elsewhere"


def test_a_tree_is_copied_once_and_then_left_alone(tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    (source / "file").write_text("first")
    copy_tree_once(source, target)
    (source / "file").write_text("second")
    copy_tree_once(source, target)
    assert (target / "file").read_text() == "first"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source", "target"]
