import json

from efface.verifying.findings import MEANINGS, Verification, judged, skipped


def test_a_run_is_ok_where_nothing_failed() -> None:
    found = Verification("run", "measured", (judged("SCHEMA", []), skipped("KEY", "no key")))
    assert found.failed == ()
    assert json.loads(found.to_json())["ok"] is True


def test_what_failed_is_named_by_its_code_with_reasons() -> None:
    found = Verification("run", None, (judged("SCHEMA", []), judged("DATA", ["gone", "other"])))
    document = json.loads(found.to_json())
    assert (document["ok"], document["failed"]) == (False, ["DATA"])
    assert document["checks"][1] == {"code": "DATA", "status": "failed", "reasons": ["gone", "other"]}


def test_the_codes_are_those_that_programs_rely_on() -> None:
    assert list(MEANINGS) == ["SCHEMA", "PAYLOAD", "WEIGHTS", "DATA", "SIGNATURE", "KEY", "EXPIRED", "SCORES"]
