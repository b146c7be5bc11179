"""Drives a server with the public client `oscar-python`, as a user's program would; every step is checked here.

Arguments: endpoint, user, password, a folder to work in, a word that makes names unique. Prints one line a step.
"""

import base64
import json
import pathlib
import sys
import time

import requests
from oscar_python.client import Client

endpoint, user, password, folder, word = sys.argv[1:6]
work = pathlib.Path(folder)
name = f"cowsay-{word}"
bucket = f"plain-{word}"
client = Client({"cluster_id": "sluice", "endpoint": endpoint, "user": user, "password": password, "ssl": False})


def step(text):
    print(text, flush=True)


def check(condition, text):
    if not condition:
        raise AssertionError(text)


def until(text, ask, seconds=60):
    """What `ask` gives, once it gives something; polls, since the client has nothing to wait with."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = ask()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"waited {seconds} s for {text}")


def refused(status, call):
    try:
        call()
    except requests.HTTPError as error:
        check(error.response.status_code == status, f"{error.response.status_code} instead of {status}")
        return
    raise AssertionError(f"it was not refused with {status}")


SCRIPT = """#!/bin/sh
echo "working on $(basename "$INPUT_FILE_PATH")"
tr a-z A-Z < "$INPUT_FILE_PATH" > "$TMP_OUTPUT_DIR/loud.txt"
"""
TALK = """#!/bin/sh
echo "hello from the log"
[ -s "$INPUT_FILE_PATH" ] && cat "$INPUT_FILE_PATH"
true
"""


def the_cluster():
    check(client.health_check().text == "Ok", "health")
    check(client.get_cluster_info().json()["version"], "a version")
    provider = client.get_cluster_config().json()["minio_provider"]
    check(provider["access_key"] and provider["secret_key"] and provider["endpoint"], "keys for MinIO")
    status = client.get_cluster_status().json()
    check(status["cluster"]["nodes_count"] >= 1, "a node")
    step("cluster: health, info, config, status")


def services():
    (work / "script.sh").write_text(SCRIPT)
    (work / "fdl.yaml").write_text(
        f"""functions:
  oscar:
  - sluice:
      name: {name}
      cpu: 0.2
      memory: 256Mi
      image: busybox
      script: script.sh
      log_level: CRITICAL
      input:
      - storage_provider: minio.default
        path: {name}/in
      output:
      - storage_provider: minio.default
        path: {name}/out
"""
    )
    check(client.create_service(str(work / "fdl.yaml")).status_code == 201, "created")
    talk = {"name": f"talk-{word}", "image": "busybox", "script": TALK, "log_level": "CRITICAL", "cpu": "0.2"}
    check(client.create_service(talk).status_code == 201, "created from a dictionary")
    try:
        client.create_service(talk)
        raise AssertionError("a second service of that name was created")
    except ValueError:
        pass
    names = [one["name"] for one in client.list_services().json()]
    check(name in names and f"talk-{word}" in names, "both are listed")
    read = client.get_service(name).json()
    check(read["script"] == SCRIPT and len(read["token"]) == 64, "read back as written")
    changed = {**read, "environment": {"variables": {"GREETING": "hi"}, "secrets": {}}}
    check(client.update_service(name, changed).status_code == 204, "updated")
    again = client.get_service(name).json()
    check(again["environment"]["variables"] == {"GREETING": "hi"}, "the update holds")
    check(again["token"] == read["token"], "the token stays")
    refused(404, lambda: client.get_service(f"nobody-{word}"))
    step("services: created from a file and a dictionary, listed, read, updated")


def synchronous_calls():
    answer = client.run_service(name, input="quiet text")
    check(base64.b64decode(answer.text) == b"QUIET TEXT", f"text: {answer.text}")
    (work / "input.bin").write_bytes(bytes(range(256)))
    answer = client.run_service(name, input=str(work / "input.bin"), output=str(work / "answer.bin"))
    expected = bytes(range(256)).upper()
    check((work / "answer.bin").read_bytes() == expected, "a file goes in and out")
    answer = client.run_service(f"talk-{word}", input={"a": "1", "b": "two words"})
    check("hello from the log" in answer.text and "two+words" in answer.text, f"a dictionary: {answer.text}")
    with_token = client.run_service(name, input="x", token=client.get_service(name).json()["token"])
    check(base64.b64decode(with_token.text) == b"X", "with a token of one's own")
    refused(401, lambda: client.run_service(name, input="x", token="0" * 64))
    step("calls: text, file, dictionary, token")


def jobs():
    answer = client.run_service(name, input="asynchronous", async_call=True)
    check(answer.status_code == 201, "accepted")
    job = answer.headers["x-run-id"]

    def ended():
        one = client.list_jobs(name).json()["jobs"].get(job)
        return one if one and one["status"] in ("Succeeded", "Failed") else None

    check(until("the job to end", ended)["status"] == "Succeeded", "succeeded")
    check("working on" in client.get_job_logs(name, job).text, "its log")
    check(client.remove_job(name, job).status_code == 204, "removed")
    check(job not in client.list_jobs(name).json()["jobs"], "gone from the list")
    # Each api process tells of the calls that it has answered itself.
    paths = set()

    def told():
        logs = client.get_system_logs(timestamps=True).json()["logs"]
        paths.update(one["path"] for one in logs)
        return f"/job/{name}" in paths and f"/run/{name}" in paths

    until("both calls in the system log", told)
    step("jobs: submitted, listed, log read, removed")


def files():
    storage = client.create_storage_client(name)
    (work / "photo.txt").write_text("from a bucket")
    storage.upload_file("minio.default", str(work / "photo.txt"), f"{name}/in")
    done = until(
        "the output",
        lambda: [
            one["Key"]
            for one in storage.list_files_from_path("minio.default", f"{name}/out").get("Contents", [])
            if one["Key"] == "out/loud.txt" and "from a bucket" in read_output(storage)
        ],
    )
    check(done == ["out/loud.txt"], f"listed: {done}")
    jobs_of_file = client.list_jobs(name).json()["jobs"]
    check(len(jobs_of_file) == 1, f"one upload is one job: {jobs_of_file}")
    step("files: put, listed, got")


def read_output(storage):
    """Lower case again, so that the caller compares with what it put."""
    (work / "got").mkdir(exist_ok=True)
    storage.download_file("minio.default", str(work / "got"), f"{name}/out/loud.txt")
    return (work / "got" / "loud.txt").read_text().lower()


def buckets():
    check(client.create_bucket(bucket).status_code == 201, "bucket created")
    check(bucket in [one["bucket_name"] for one in client.list_buckets().json()], "bucket listed")
    put = client.presign_bucket(bucket, "a/b.txt", operation="upload", content_type="text/plain").json()
    requests.put(put["url"], data=b"presigned", headers=put.get("headers"), timeout=30).raise_for_status()
    got = client.presign_bucket(bucket, "a/b.txt", operation="download").json()
    check(requests.get(got["url"], timeout=30).content == b"presigned", "presigned both ways")
    objects = client.get_bucket(bucket).json()["objects"]
    check([one["object_name"] for one in objects] == ["a/b.txt"], f"objects: {objects}")
    check(client.update_bucket(bucket, "public").status_code == 204, "bucket updated")
    check(client.delete_bucket(bucket).status_code == 204, "bucket deleted")
    step("buckets: made, listed, presigned, updated, deleted")


def deployments():
    status = client.get_deployment_status(name).json()
    check(status["service_name"] == name and status["state"] in ("ready", "pending"), f"state: {status}")
    logs = client.get_deployment_logs(f"talk-{word}").json()
    check(any("hello from the log" in one["message"] for one in logs["entries"]), f"runner log: {logs}")
    step("deployment: status and log")


def the_end():
    check(client.remove_all_jobs(name).status_code == 204, "jobs removed")
    check(client.list_jobs(name).json()["jobs"] == {}, "no jobs left")
    for one in (name, f"talk-{word}"):
        check(client.remove_service(one).status_code == 204, "removed")
        refused(404, lambda one=one: client.get_service(one))
    step("end: jobs and services removed")


if __name__ == "__main__":
    the_cluster()
    services()
    synchronous_calls()
    jobs()
    files()
    buckets()
    deployments()
    the_end()
    print(json.dumps({"done": True}))
