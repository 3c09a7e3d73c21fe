"""Asks with PyPI's package varlink: foreign.py SOCKET FOLDER NAME, where FOLDER is NAME's directory."""

import os
import sys

import varlink

socket, folder, name = sys.argv[1:]
client = varlink.Client.new_with_address("unix:" + socket)
assert "io.cgtrace" in client.get_interfaces(), client.get_interfaces()

with client.open("io.cgtrace") as cgtrace:
    status = cgtrace.Status()
    assert status["limits"]["max_call_bytes"] > 0, status
    (answer,) = cgtrace.Lookup([name])["results"]
    assert answer["present"], answer
    cgroups = [
        cgroup
        for reply in cgtrace.List([name], None, _more=True)
        for cgroup in reply["cgroups"]
    ]
    assert [cgroup["path"] for cgroup in cgroups] == [name], cgroups
    waited = cgtrace.Wait(name, "populated", None, 1)
    assert waited["reached"] is False, waited
    try:
        cgtrace.Lookup(["relative"])
    except varlink.VarlinkError as error:
        assert error.error() == "io.cgtrace.InvalidPath", error
        assert error.parameters()["expected"] == "/relative", error
    else:
        raise AssertionError("a relative name was taken")

with client.open("io.cgtrace") as cgtrace:
    watching = cgtrace.Watch([name], ["mkdir", "rmdir"], None, None, _more=True)
    assert next(watching)["seq"] > 0
    os.mkdir(folder + "/python")
    event = next(watching)["event"]
    assert event["kind"] == "mkdir" and event["path"] == name + "/python", event
    os.rmdir(folder + "/python")
    assert next(watching)["event"]["kind"] == "rmdir"

print("all answered")
