#!/usr/bin/env python3
"""A lamp that misbehaves in the way that its first argument names; its second is a folder of its own.

`lamp.light` of a node is on while a file with the node's name is in the folder."""

import json
import os
import pathlib
import subprocess
import sys
import time

how = sys.argv[1]
folder = pathlib.Path(sys.argv[2])


def say(**fields):
    print(json.dumps(fields), flush=True)


def once(name):
    """Whether this happens for the first time."""
    try:
        (folder / name).touch(exist_ok=False)
        return True
    except FileExistsError:
        return False


def mutation(name, start, end):
    change = {"variable": "lamp.light", "from": start, "to": end}
    return {"name": f"lamp.{name}", "changes": [change], "timeout_ms": 30000, "expected_ms": 100}


def declare():
    more = {"idle_stop_ms": 5000} if how == "idle" else {"discover": {"every_ms": 1000}}
    say(
        type="declare",
        protocol=1,
        version="1",
        doc="a lamp",
        variables=[
            {"path": "lamp.light", "type": "enum", "values": ["off", "on"], "set": "goal"},
            {"path": "lamp.colour", "type": "text"},
        ],
        mutations=[
            mutation("look", ["unknown"], ["off", "on"]),
            mutation("switch-on", ["off"], ["on"]),
            mutation("switch-off", ["on"], ["off"]),
        ],
        **more,
    )


def look(node):
    light = "on" if (folder / node["name"]).exists() else "off"
    say(type="observe", node=node["id"], variable="lamp.light", value=light)


def act(message):
    node = message["node"]
    verb = message["mutation"].partition(".")[2]
    if verb == "switch-on":
        if how == "dies" and once("died"):
            os._exit(3)
        if how == "hangs" and once("hung"):
            time.sleep(1000)
        if how == "refuses":
            return say(type="outcome", id=message["id"], ok=False, detail="the bulb is missing")
        if how == "boasts":
            return say(type="outcome", id=message["id"], ok=True)
        (folder / node["name"]).touch()
    if verb == "switch-off":
        (folder / node["name"]).unlink(missing_ok=True)
    look(node)
    say(type="outcome", id=message["id"], ok=True)


def discover(message):
    node = message["node"]
    with (folder / "looks").open("a") as looks:
        looks.write("look\n")
    if how == "trespasses":
        say(type="observe", node=node["id"], variable="power", value="off")
        say(type="observe", node=node["id"], variable="other.light", value="on")
    if how == "invents":
        say(type="observe", node="00000000-0000-0000-0000-00000000beef", variable="lamp.light", value="on")
        say(type="observe", node=node["id"], variable="lamp.light", value="purple")
    if how == "leaks":
        say(type="log", level="info", text=f"the password is {node['bmc']['password']}")
        print(f"it is {node['bmc']['password']}", file=sys.stderr, flush=True)
        say(type="observe", node=node["id"], variable="lamp.colour", value=f"x{node['bmc']['password']}")
        say(type="outcome", id=message["id"], ok=False, detail=node["bmc"]["password"])
        return
    look(node)
    say(type="outcome", id=message["id"], ok=True)


for line in sys.stdin:
    message = json.loads(line)
    if message["type"] == "hello":
        with (folder / "starts").open("a") as starts:
            starts.write(f"{os.getpid()}\n")
        if how == "hesitates" and once("hesitated"):
            time.sleep(1000)
        if how == "babbles" and once("babbled"):
            print("Hello, I am a lamp!", flush=True)
        if how == "breeds":
            # A grandchild that has left the process group and keeps the pipes.
            child = subprocess.Popen(["sleep", "1000"], start_new_session=True)
            (folder / "grandchild").write_text(str(child.pid))
        declare()
        say(type="ready")
        if how == "shouts" and once("shouted"):
            print("x" * 200000, flush=True)
        if how == "floods":
            for number in range(5000):
                say(type="log", level="debug", text=f"line {number}")
    elif message["type"] == "discover":
        discover(message)
    elif message["type"] == "action":
        act(message)
    elif message["type"] == "bye":
        break
