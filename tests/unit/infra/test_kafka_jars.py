"""Kafka's jars: only the exact files of the tested release are taken."""

import pytest

from infra import kafka_jars


def test_a_jar_with_another_content_is_refused_by_name(tmp_path, monkeypatch):
    checksums = tmp_path / "jars.sha256"
    checksums.write_text(
        "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae  good.jar\n"
        "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae  changed.jar\n"
        "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae  missing.jar\n"
    )
    monkeypatch.setattr(kafka_jars, "CHECKSUMS", checksums)
    (tmp_path / "good.jar").write_bytes(b"foo")
    (tmp_path / "changed.jar").write_bytes(b"bar")
    with pytest.raises(kafka_jars.WrongJar, match=r"jars differ from jars\.sha256: changed\.jar, missing\.jar$"):
        kafka_jars.check_jars([tmp_path / "good.jar", tmp_path / "changed.jar"])


def test_the_release_consists_of_its_45_jars():
    wanted = kafka_jars.wanted_jars()
    assert len(wanted) == 45
    assert {"kafka_2.13-4.4.0.jar", "kafka-clients-4.4.0.jar", "log4j-slf4j-impl-2.25.5.jar"} <= wanted.keys()
    assert {len(digest) for digest in wanted.values()} == {64}
