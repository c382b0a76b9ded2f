"""Evidence over HTTP."""

import json

import pytest

from tests.kit.exchange import BEARER

CLOSED = "fedcba9876543210"
BYTES = bytes(range(256)) * 8


@pytest.fixture
def folder(evidence):
    folder = evidence / CLOSED
    folder.mkdir()
    (folder / "call.pcapng").write_bytes(BYTES)
    (folder / "manifest.json").write_text(json.dumps({"call": CLOSED}))
    (folder / "link.txt").symlink_to("/etc/passwd")
    (folder / "inner").mkdir()
    (evidence / "secret.txt").write_text("outside")
    return folder


@pytest.mark.usefixtures("folder")
async def test_the_folder_is_listed_and_judged(client):
    answer = await client.get(f"/api/evidence/{CLOSED}", headers=BEARER)
    assert answer.status == 200
    told = await answer.json()
    assert (told["call"], told["state"], told["manifest"]) == (CLOSED, "closed", {"call": CLOSED})
    assert [(file["name"], file["bytes"]) for file in told["files"]] == [
        ("call.pcapng", 2048),
        ("manifest.json", 28),
    ]
    assert told["verdict"]["intact"] is False
    assert "manifest.json" in {problem["file"] for problem in told["verdict"]["problems"]}


@pytest.mark.usefixtures("folder")
async def test_a_call_that_is_still_recorded_is_not_judged(client, exchange):
    exchange.live = [{"call": CLOSED, "state": "active"}]
    told = await (await client.get(f"/api/evidence/{CLOSED}", headers=BEARER)).json()
    assert (told["state"], told["verdict"]) == ("recording", None)


@pytest.mark.usefixtures("folder")
async def test_the_check_may_be_left_out(client):
    told = await (await client.get(f"/api/evidence/{CLOSED}?verify=no", headers=BEARER)).json()
    assert (told["state"], told["verdict"]) == ("closed", None)


async def test_a_manifest_that_is_no_json_is_none(client, folder):
    (folder / "manifest.json").write_bytes(b"\xff{")
    told = await (await client.get(f"/api/evidence/{CLOSED}", headers=BEARER)).json()
    assert told["manifest"] is None


async def test_no_folder_no_evidence(client):
    assert (await client.get(f"/api/evidence/{CLOSED}", headers=BEARER)).status == 404
    assert (await client.get(f"/api/evidence/{CLOSED}/call.pcapng", headers=BEARER)).status == 404


async def test_an_empty_folder_has_no_verdict(client, evidence):
    (evidence / CLOSED).mkdir()
    told = await (await client.get(f"/api/evidence/{CLOSED}", headers=BEARER)).json()
    assert (told["files"], told["verdict"]) == ([], None)


@pytest.mark.usefixtures("folder")
async def test_a_file_comes_byte_for_byte(client):
    answer = await client.get(f"/api/evidence/{CLOSED}/call.pcapng", headers=BEARER)
    assert (answer.status, await answer.read()) == (200, BYTES)
    assert answer.headers["Content-Type"] == "application/x-pcapng"
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{CLOSED}-call.pcapng"'


@pytest.mark.usefixtures("folder")
async def test_a_range_of_a_file(client):
    path = f"/api/evidence/{CLOSED}/call.pcapng"
    answer = await client.get(path, headers={**BEARER, "Range": "bytes=10-19"})
    assert (answer.status, await answer.read()) == (206, BYTES[10:20])
    assert answer.headers["Content-Range"] == "bytes 10-19/2048"
    assert (await client.get(path, headers={**BEARER, "Range": "bytes=9000-"})).status == 416


@pytest.mark.parametrize(
    "name",
    ["link.txt", "inner", "..", ".", "%2e%2e", "..%2fsecret.txt", "%2e%2e%2fsecret.txt", "..%5csecret.txt",
     "%2fetc%2fpasswd", "call.pcapng%00", "call.pcapng%0a", "inner%2f..%2fcall.pcapng", "CALL.PCAPNG"],
)  # fmt: skip
@pytest.mark.usefixtures("folder")
async def test_only_regular_files_of_the_folder_by_their_exact_name(client, name):
    answer = await client.get(f"/api/evidence/{CLOSED}/{name}", headers=BEARER, allow_redirects=False)
    assert answer.status == 404


@pytest.mark.parametrize(
    "call", ["..", "%2e%2e%2f%2e%2e%2fetc", "secret.txt", "FEDCBA9876543210", "fedcba9876543210%0a"]
)
@pytest.mark.usefixtures("folder")
async def test_only_call_ids_name_folders(client, call):
    assert (await client.get(f"/api/evidence/{call}", headers=BEARER)).status == 404


async def test_a_linked_folder_is_none(client, evidence, folder):
    (evidence / "aaaaaaaaaaaa").symlink_to(folder)
    assert (await client.get("/api/evidence/aaaaaaaaaaaa", headers=BEARER)).status == 404
