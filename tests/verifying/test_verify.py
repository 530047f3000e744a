import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from efface.errors import EffaceWarning, InputError
from efface.export.place import RECORD
from efface.functional.metrics import wilson_interval
from efface.report.record import SCHEMA
from efface.verifying.findings import Check, Verification
from efface.verifying.sign import sign_run
from efface.verifying.verify import Rerun, verify
from tests.keys import write_keys
from tests.verifying.runs import copied, flip, record_of, write_record
from tests.worlds import World

BEFORE, END, AFTER = (datetime(year, 1, 1, tzinfo=UTC) for year in (2026, 2027, 2028))


def check(found: Verification, code: str) -> Check:
    (one,) = (c for c in found.checks if c.code == code)
    return one


def test_an_untouched_run_passes_and_says_what_was_measured(whole: Path) -> None:
    found = verify(whole)
    assert found.failed == ()
    assert {c.code: c.status for c in found.checks} == {
        "SCHEMA": "passed", "PAYLOAD": "passed", "WEIGHTS": "passed", "DATA": "passed",
        "SIGNATURE": "skipped", "KEY": "skipped", "EXPIRED": "skipped", "SCORES": "passed",
    }  # fmt: skip
    assert found.statement is not None
    assert found.statement.endswith(f"under no attack, for weights sha256 {record_of(whole)['weights']['result']}")
    document = json.loads(found.to_json())
    assert (document["ok"], document["failed"]) == (True, [])


@pytest.mark.parametrize("part", [0.0001, 0.3, 0.6, 0.99])
def test_one_flipped_bit_in_the_weights_is_named(run: Path, part: float) -> None:
    (weights,) = (run / "model").glob("*.safetensors")
    flip(weights, int(part * weights.stat().st_size) + 8)
    found = verify(run)
    assert found.failed == ("WEIGHTS",)
    reasons = " ".join(check(found, "WEIGHTS").reasons)
    assert "model/open_clip_model.safetensors has the sha256" in reasons
    if part > 0.1:  # past the header
        assert "the tensor " in reasons


def test_a_file_beside_the_weights_that_changes_what_the_model_does_is_named(run: Path) -> None:
    flip(run / "model" / "open_clip_config.json", -20)
    (run / "model" / "classnames.txt").write_text("dog\n")
    found = verify(run)
    assert found.failed == ("WEIGHTS",)
    assert [reason.split()[:2] for reason in check(found, "WEIGHTS").reasons] == [
        ["model/classnames.txt", "is"],
        ["model/open_clip_config.json", "has"],
    ]


@pytest.mark.parametrize("name", ["retrieved.png", "results/scores.csv", "results/0-pictures-after.json"])
def test_one_flipped_bit_in_what_lies_beside_the_record_is_named(run: Path, name: str) -> None:
    flip(run / name, 100)
    found = verify(run)
    assert found.failed == ("PAYLOAD",)
    assert check(found, "PAYLOAD").reasons[0].startswith(f"{name} has the sha256")


def test_an_edited_page_is_named_and_notes_of_others_are_only_told(run: Path) -> None:
    (run / "notes.txt").write_text("looks good")
    told = check(verify(run), "PAYLOAD")
    assert (told.status, told.reasons) == ("passed", ("not of the run, and not looked at: notes.txt",))
    page = (run / "report.html").read_text(encoding="utf-8")
    (run / "report.html").write_text(page.replace("</h1>", ", all gone</h1>"), encoding="utf-8")
    found = verify(run)
    assert found.failed == ("PAYLOAD",)
    assert check(found, "PAYLOAD").reasons[0].startswith("report.html is not what the record makes")


def test_one_flipped_bit_in_the_data_is_named(run: Path) -> None:
    flip(run.parent / "pictures" / "cat" / "1.png", 200)
    assert verify(run).failed == ("DATA",)


def test_the_same_images_under_other_labels_are_named(run: Path) -> None:
    (run.parent / "pictures" / "classnames.txt").write_text("hound\nkitten\nfox\n")
    found = verify(run)
    assert found.failed == ("DATA",)
    assert "other labels or class names" in check(found, "DATA").reasons[0]


def test_data_that_are_elsewhere_are_recognised_by_what_they_are(run: Path) -> None:
    elsewhere = (run.parent / "pictures").rename(run.parent / "moved")
    absent = verify(run)
    assert absent.failed == ()
    assert check(absent, "DATA").status == "skipped"
    assert "give it with --eval" in check(absent, "DATA").reasons[0]
    assert check(verify(run, data=[str(elsewhere)]), "DATA").status == "passed"
    flip(elsewhere / "cat" / "1.png", 200)
    assert verify(run, data=[str(elsewhere)]).failed == ("DATA",)


def test_data_that_were_given_and_are_none_of_the_record_are_named(run: Path, world: World) -> None:
    other = shutil.copytree(world.data, run.parent / "other")
    (other / "fox" / "0.png").unlink()
    found = verify(run, data=[world.data, str(other)])
    assert found.failed == ("DATA",)
    assert check(found, "DATA").reasons == (f"{str(other)!r} is none of the data of the record",)


@pytest.mark.filterwarnings("default:1 of the 12 images")
def test_the_images_that_were_chosen_and_left_out_are_measured_again(some: Path, tmp_path: Path) -> None:
    assert [used["where"] for used in record_of(some)["data"]] == [{"domain": "sketch"}]
    with pytest.warns(EffaceWarning, match="1 of the 12 images"):
        assert verify(some, rerun=Rerun()).failed == ()
    run = copied(some, tmp_path)
    (tmp_path / "pictures").rename(tmp_path / "moved")
    with pytest.warns(EffaceWarning, match="1 of the 12 images"):
        assert verify(run, data=[f"domains:{tmp_path / 'moved'}"], rerun=Rerun()).failed == ()


def test_a_record_that_names_other_images_than_were_measured_is_named(some: Path, tmp_path: Path) -> None:
    run = copied(some, tmp_path)
    document = record_of(run)
    # The other domain has the same labels, and all its images can be decoded.
    document["data"][0] |= {"where": {"domain": "photo"}}
    write_record(run, document, sealed=True)
    found = verify(run, rerun=Rerun())
    assert found.failed == ("SCORES",)
    assert "now (n = 4" in check(found, "SCORES").reasons[1]
    document["data"][0] |= {"n": 12}
    write_record(run, document, sealed=True)
    assert verify(run).failed == ("DATA", "SCORES")


@pytest.mark.slow
def test_every_flipped_bit_in_the_record_is_named(run: Path) -> None:
    path = run / RECORD
    size, content = path.stat().st_size, path.read_bytes()
    for at in range(0, size, size // 60):
        flip(path, at)
        assert set(verify(run).failed) & {"SCHEMA", "PAYLOAD"}, at
        path.write_bytes(content)


@pytest.mark.slow
def test_a_flipped_bit_anywhere_in_a_signature_is_named_where_the_key_is_given(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    private, public = write_keys(tmp_path)
    sign_run(run, private, valid_until=END, now=BEFORE)
    content = (run / RECORD).read_bytes()
    first = content.index(b'"signature"')
    last = content.index(b"}", first)
    # A prime step, so that every field is met.
    for at in range(first, last, 13):
        flip(run / RECORD, at)
        found = verify(run, key=public, now=BEFORE)
        assert set(found.failed) & {"SCHEMA", "PAYLOAD", "SIGNATURE", "KEY"}, at
        (run / RECORD).write_bytes(content)


def test_a_number_that_is_not_finite_is_named(run: Path) -> None:
    write_record(run, edited(run, float("nan")), sealed=False)
    found = verify(run)
    assert found.failed == ("SCHEMA",)
    assert "NaN is no number of JSON" in check(found, "SCHEMA").reasons[0]


def test_white_space_alone_is_named_too(run: Path) -> None:
    (run / RECORD).write_text(json.dumps(record_of(run)), encoding="utf-8")
    found = verify(run)
    assert found.failed == ("PAYLOAD",)
    assert "not written as efface writes it" in check(found, "PAYLOAD").reasons[0]


def test_an_unknown_schema_is_named_and_nothing_else_is_said(run: Path) -> None:
    write_record(run, record_of(run) | {"schema": "efface/record/99"}, sealed=True)
    found = verify(run)
    assert found.failed == ("SCHEMA",)
    assert f"knows '{SCHEMA}'" in check(found, "SCHEMA").reasons[0]
    assert found.statement is None
    assert {c.status for c in found.checks if c.code != "SCHEMA"} == {"skipped"}


def edited(run: Path, value: float, **more: Any) -> dict[str, Any]:
    document = record_of(run)
    document["scores"]["after"][0] |= {"value": value, **more}
    return document


def test_an_edited_score_is_named(run: Path) -> None:
    write_record(run, edited(run, 0.123), sealed=False)
    assert verify(run).failed == ("PAYLOAD", "SCORES")


def test_an_edited_score_with_a_digest_that_fits_is_named(run: Path) -> None:
    write_record(run, edited(run, 0.123), sealed=True)
    found = verify(run)
    assert found.failed == ("SCORES",)
    assert "0.123 is no share of 4" in check(found, "SCORES").reasons[0]


def forged(run: Path) -> None:
    """The two classes that were kept change places, so that every sum and every interval stays as it is."""
    document = record_of(run)
    other = {"cat": "fox", "fox": "cat"}
    for found in (*document["classes"].values(), document["confusion"]):
        for one in found:
            one |= {key: other.get(one[key], one[key]) for key in ("name", "called") if key in one}
    write_record(run, document, sealed=True)


def test_what_agrees_with_itself_is_still_found_by_measuring_again(run: Path) -> None:
    assert verify(run, rerun=Rerun()).failed == ()
    forged(run)
    assert verify(run).failed == ()
    found = verify(run, rerun=Rerun())
    assert found.failed == ("SCORES",)
    assert "in the record" in check(found, "SCORES").reasons[0]


def test_forged_changes_and_finds_are_found_by_measuring_again(run: Path) -> None:
    document = record_of(run)
    for change in (*document["changes"], *document["classes"]["changes"]):
        change |= {"low": -1.0, "high": 1.0}
    document["retrieved"] = []
    for tensor in document["weights"]["tensors"]:
        tensor["relative_change"] = tensor["relative_change"] and 2 * tensor["relative_change"]
    write_record(run, document, sealed=True)
    assert verify(run).failed == ()
    found = verify(run, rerun=Rerun())
    assert found.failed == ("SCORES",)
    assert "relative_change" in check(found, "SCORES").reasons[0]
    assert check(found, "SCORES").reasons[-1].startswith("and ")


def test_a_record_cannot_switch_the_second_measurement_off(run: Path) -> None:
    write_record(run, record_of(run) | {"data": []}, sealed=True)
    assert verify(run).failed == ("SCORES",)
    found = verify(run, rerun=Rerun())
    assert found.failed == ("SCORES",)
    reasons = check(found, "SCORES").reasons
    assert "is none of the data of the record" in reasons[0]
    assert reasons[-1] == "not measured again: the record names no data"


def test_a_record_cannot_switch_the_check_of_the_weights_off(run: Path) -> None:
    document = record_of(run)
    document["weights"]["result"] = None
    write_record(run, document, sealed=True)
    (run / "model" / "more.bin").write_bytes(b"x")
    found = verify(run)
    assert found.failed == ("WEIGHTS", "SCORES")
    assert check(found, "WEIGHTS").reasons == (
        "model/more.bin is not in the record",
        "there is a model, and the record says that none was made",
    )


def test_a_run_without_a_model_is_measured_again_on_the_base(run: Path) -> None:
    document = record_of(run)
    shutil.rmtree(run / "model")
    document |= {"changes": [], "confusion": [], "summaries": []}
    document["weights"] |= {"result": None, "changed": []}
    for tensor in document["weights"]["tensors"]:
        tensor |= {"result": None, "relative_change": None, "largest_change": None}
    for part in ("scores", "classes"):
        document[part] |= {key: [] for key in document[part] if key != "before"}
    document["retrieved"] = [one for one in document["retrieved"] if one["when"] == "before"]
    document["files"] = [file for file in document["files"] if not file["path"].startswith("model/")]
    write_record(run, document, sealed=True)
    found = verify(run, rerun=Rerun())
    assert check(found, "WEIGHTS").status == "skipped"
    # The sheet has the pictures of what was found after too, so only their places on it differ.
    assert all("finds image" in reason for reason in check(found, "SCORES").reasons[:-1])
    first = document["scores"]["before"][0]
    right = round(first["value"] * first["n"])
    right += 1 if right == 0 else -1
    low, high = wilson_interval(right, first["n"])
    first |= {"value": right / first["n"], "low": low, "high": high}
    write_record(run, document, sealed=True)
    reasons = check(verify(run, rerun=Rerun()), "SCORES").reasons
    assert any(f"acc1 both before: value {first['value']}" in reason for reason in reasons), reasons


@pytest.mark.parametrize(
    ("name", "target", "code"),
    [
        ("model/classnames.txt", "file", "WEIGHTS"),
        ("model/sub", "folder", "WEIGHTS"),
        ("results/more.csv", "nowhere", "PAYLOAD"),
        ("record.json", "itself", "PAYLOAD"),
    ],
)
def test_a_link_is_named_wherever_it_leads(run: Path, tmp_path: Path, name: str, target: str, code: str) -> None:
    (tmp_path / "file").write_text("dog\n")
    (tmp_path / "folder").mkdir()
    if target == "itself":
        (run / name).rename(tmp_path / target)
    (run / name).symlink_to(tmp_path / target)
    found = verify(run)
    assert found.failed == (code,)
    assert f"{name} is a link" in check(found, code).reasons[0]


def test_a_model_that_is_a_link_is_named_and_a_run_that_is_reached_by_one_is_fine(run: Path) -> None:
    (run.parent / "link").symlink_to(run)
    assert verify(run.parent / "link").failed == ()
    (run / "model").rename(run.parent / "elsewhere")
    (run / "model").symlink_to(run.parent / "elsewhere")
    assert verify(run).failed == ("WEIGHTS",)
    assert "model is a link" in check(verify(run), "WEIGHTS").reasons[0]


def test_a_rerun_says_which_base_is_missing_or_wrong(run: Path, world: World, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the base cannot be loaded") as caught:
        verify(run, rerun=Rerun(base=f"local-dir:{tmp_path / 'none'}"))
    assert "--base" in caught.value.hint
    with pytest.raises(InputError, match="is not the base of this run"):
        verify(run, rerun=Rerun(base=f"local-dir:{run / 'model'}"))


def test_a_rerun_needs_the_data(run: Path) -> None:
    (run.parent / "pictures").rename(run.parent / "moved")
    found = verify(run, rerun=Rerun())
    assert found.failed == ("DATA", "SCORES")
    assert check(found, "SCORES").reasons == ("not measured again: that needs the data of the record",)


def test_a_signature_is_checked_against_the_key_that_was_given(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    private, public = write_keys(tmp_path)
    (tmp_path / "other").mkdir()
    other = write_keys(tmp_path / "other")[1]
    unsigned = verify(run, key=public)
    assert unsigned.failed == ("SIGNATURE",)
    sign_run(run, private, valid_until=END, now=BEFORE)
    assert verify(run, key=public, now=BEFORE).failed == ()
    assert check(verify(run, key=public, now=BEFORE), "EXPIRED").status == "passed"
    without_key = verify(run, now=BEFORE)
    assert check(without_key, "SIGNATURE").status == check(without_key, "EXPIRED").status == "skipped"
    assert "not checked, and anybody can write that" in check(without_key, "SIGNATURE").reasons[0]
    assert verify(run, now=AFTER).failed == ("EXPIRED",)
    assert verify(run, key=other, now=BEFORE).failed == ("KEY",)
    assert verify(run, key=public, now=AFTER).failed == ("EXPIRED",)
    document = record_of(run)
    document["signature"]["valid_until"] = "2099-01-01T00:00:00Z"
    write_record(run, document, sealed=False)
    assert verify(run, key=public, now=AFTER).failed == ("SIGNATURE",)
    assert check(verify(run, key=public, now=AFTER), "EXPIRED").status == "skipped"


def test_a_record_edited_after_it_was_signed_is_named_even_with_a_digest_that_fits(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    private, public = write_keys(tmp_path)
    sign_run(run, private)
    write_record(run, record_of(run) | {"seed": 1}, sealed=True)
    assert verify(run, key=public).failed == ("SIGNATURE",)


def test_what_is_no_run_folder_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a run folder"):
        verify(tmp_path)
