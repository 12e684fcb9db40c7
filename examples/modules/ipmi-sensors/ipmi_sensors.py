#!/usr/bin/env python3
"""ipmi-sensors: a module for bootes that reads temperatures from BMCs, and throttles machines through them.

It runs `ipmitool` over the network (lanplus) with the node's own BMC credentials, which the appliance hands over in each
request because the configuration says `bmc = true`. The password goes to ipmitool in its environment, never among its
arguments, and is written nowhere. Needs Python 3.9 or newer and ipmitool. README.md tells what throttling does.
"""

import concurrent.futures
import csv
import json
import os
import subprocess
import sys
import threading

PROTOCOL = 1
# BMCs that are spoken to at once: each takes a second or so, and this machine hardly anything.
AT_ONCE = 16
# Seconds for one call of ipmitool in a look at a node.
CALL_WAIT_S = 30

CONFIG = [
    {"key": "ipmitool", "type": "text", "default": "ipmitool", "doc": "the program ipmitool"},
    {"key": "every_s", "type": "integer", "default": 60, "doc": "seconds between two looks at one node"},
    {"key": "step_c", "type": "integer", "default": 2, "doc": "smaller changes of a temperature are not told"},
    {"key": "cipher_suite", "type": "integer", "default": 0, "doc": "IPMI cipher suite; 0 lets ipmitool choose"},
    {"key": "method", "type": "text", "default": "dcmi", "doc": "how to throttle: dcmi or threshold"},
    {"key": "limit_w", "type": "integer", "default": 200, "doc": "dcmi: the power limit in watts"},
    {"key": "sensor", "type": "text", "default": "", "doc": "threshold: the sensor's name, as the BMC gives it"},
    {"key": "throttled_c", "type": "integer", "default": 60, "doc": "threshold: degrees when throttled"},
    {"key": "normal_c", "type": "integer", "default": 80, "doc": "threshold: degrees when not throttled"},
]


class Refused(Exception):
    """What cannot be done, in words for the outcome."""


class Bmc:
    """One node's BMC, by way of ipmitool."""

    def __init__(self, config, node, wait_s):
        if "bmc" not in node:
            raise Refused("the node has no BMC, or this module lacks 'bmc = true' in appliance.toml")
        self.config = config
        self.bmc = node["bmc"]
        self.wait_s = wait_s
        self.process = None
        self.cancelled = False

    def call(self, *words):
        """Runs ipmitool and gives what it printed."""
        host, _, port = self.bmc["address"].rpartition(":")
        command = [self.config["ipmitool"], "-I", "lanplus", "-H", host.strip("[]"), "-p", port, "-U", self.bmc["user"], "-E"]
        if self.config["cipher_suite"]:
            command += ["-C", str(self.config["cipher_suite"])]
        # -E takes the password from the environment, where other people's `ps` does not see it.
        environment = {**os.environ, "IPMI_PASSWORD": self.bmc["password"]}
        try:
            self.process = subprocess.Popen(
                command + list(words),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            if self.cancelled:
                self.process.kill()
            printed, complained = self.process.communicate(timeout=self.wait_s)
        except OSError as error:
            raise Refused(f"{self.config['ipmitool']} cannot be run: {error.strerror}; install ipmitool") from error
        except subprocess.TimeoutExpired as error:
            self.process.kill()
            self.process.communicate()
            raise Refused(f"the BMC gave no answer within {self.wait_s:.0f} s") from error
        if self.cancelled:
            raise Refused("cancelled")
        if self.process.returncode != 0:
            said = [line.strip() for line in (printed + complained).splitlines() if line.strip()]
            raise Refused(said[-1] if said else f"ipmitool ended with exit code {self.process.returncode}")
        return printed

    def cancel(self):
        """Ends the call under way; called from another thread."""
        self.cancelled = True
        if self.process is not None:
            self.process.kill()

    def temperatures(self):
        """Degrees Celsius by sensor, of the sensors that have a reading."""
        rows = csv.reader(self.call("-c", "sdr", "type", "Temperature").splitlines())
        # Name, value, unit, status; sensors of parts that are not there have no value.
        readings = {row[0]: row[1] for row in rows if len(row) >= 3 and row[2] == "degrees C"}
        return {name: round(float(value)) for name, value in readings.items() if is_number(value)}


class Dcmi:
    """Throttling by the DCMI power limit."""

    def __init__(self, config):
        self.limit_w = config["limit_w"]

    def look(self, bmc):
        """Whether a limit is in force."""
        printed = bmc.call("dcmi", "power", "get_limit")
        return "on" if "Power Limit Active" in printed else "off"

    def switch(self, bmc, value):
        """Sets the limit and puts it in force, or takes it out of force."""
        if value == "on":
            bmc.call("dcmi", "power", "set_limit", "limit", str(self.limit_w))
            bmc.call("dcmi", "power", "activate")
        else:
            bmc.call("dcmi", "power", "deactivate")


class Threshold:
    """Throttling by the upper non-critical threshold of a temperature sensor."""

    # Where it stands in a line of `ipmitool -c sensor get`: name, value, unit, status, three lower ones, this one.
    COLUMN = 7

    def __init__(self, config):
        if not config["sensor"]:
            raise Refused("with method = \"threshold\", 'sensor' must name a sensor of the BMC")
        self.sensor = config["sensor"]
        self.degrees = {"on": config["throttled_c"], "off": config["normal_c"]}

    def look(self, bmc):
        """Whether the threshold is at or below the one for throttled machines."""
        for row in csv.reader(bmc.call("-c", "sensor", "get", self.sensor).splitlines()):
            if len(row) > self.COLUMN and row[0] == self.sensor and is_number(row[self.COLUMN]):
                return "on" if float(row[self.COLUMN]) <= self.degrees["on"] else "off"
        raise Refused(f"the sensor '{self.sensor}' has no upper non-critical threshold")

    def switch(self, bmc, value):
        """Sets the threshold."""
        bmc.call("sensor", "thresh", self.sensor, "unc", str(self.degrees[value]))


METHODS = {"dcmi": Dcmi, "threshold": Threshold}


def is_number(text):
    """Whether ipmitool has printed a number here, and not 'na'."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def declaration(name, config):
    """What this module has and can do."""
    throttle = f"{name}.throttle"

    def mutation(verb, start, ends, **more):
        return {
            "name": f"{name}.{verb}",
            "changes": [{"variable": throttle, "from": start, "to": ends}],
            "expected_ms": 3_000,
            "timeout_ms": 60_000,
            **more,
        }

    fail_to = [{"variable": throttle, "value": "unknown"}]
    return {
        "protocol": PROTOCOL,
        "version": "1.0.0",
        "doc": "Reads temperatures from BMCs, and throttles machines through them.",
        "variables": [
            {
                "path": f"{name}.temperature_c",
                "type": "int",
                "min": -128,
                "max": 1_000,
                "doc": "the hottest sensor, in degrees Celsius",
            },
            {
                "path": f"{name}.temperatures_c",
                "type": "map",
                "of": {"type": "int"},
                "doc": "degrees Celsius by sensor",
            },
            {
                "path": throttle,
                "type": "enum",
                "values": ["off", "on"],
                "set": "goal",
                "doc": "whether the machine is throttled",
            },
        ],
        "mutations": [
            mutation("look", ["unknown"], ["off", "on"]),
            mutation("throttle-on", ["off"], ["on"], fail_to=fail_to),
            mutation("throttle-off", ["on"], ["off"], fail_to=fail_to),
        ],
        "config": CONFIG,
        "discover": {"every_ms": config["every_s"] * 1_000},
        "at_once": AT_ONCE,
        "idle_stop_ms": 300_000,
    }


class Module:
    """The conversation with the appliance: requests run in threads, and lines are written whole."""

    def __init__(self):
        self.name = ""
        self.config = {}
        self.method = None
        self.writing = threading.Lock()
        self.under_way = {}
        self.workers = concurrent.futures.ThreadPoolExecutor(AT_ONCE)

    def send(self, kind, **fields):
        """Says something to the appliance."""
        line = json.dumps({"type": kind, **fields})
        with self.writing:
            print(line, flush=True)

    def hello(self, message):
        """The first message: the module's name and its configuration."""
        self.name = message["module"]
        self.config = {key["key"]: key["default"] for key in CONFIG}
        self.config.update(message["config"])
        self.send("declare", **declaration(self.name, self.config))
        if self.config["method"] not in METHODS:
            raise Refused(f"method = \"{self.config['method']}\" is not known: use dcmi or threshold")
        self.method = METHODS[self.config["method"]](self.config)
        self.send("ready")

    def request(self, message):
        """A look at a node, or a mutation, in a thread of its own."""
        ended = {"ok": True}
        try:
            wait_s = message.get("deadline_ms", CALL_WAIT_S * 1_000) / 1_000
            bmc = Bmc(self.config, message["node"], wait_s)
            self.under_way[message["id"]] = bmc
            if message["type"] == "discover":
                self.discover(message["node"], bmc)
            else:
                self.act(message["node"], bmc, message["mutation"])
        except (Refused, OSError, ValueError) as error:
            ended = {"ok": False, "detail": str(error)}
        finally:
            self.under_way.pop(message["id"], None)
        self.send("outcome", id=message["id"], **ended)

    def discover(self, node, bmc):
        """Tells temperatures that have changed, and whether the machine is throttled."""
        now = bmc.temperatures()
        before = node["observed"].get(f"{self.name}.temperatures_c", {})
        step = self.config["step_c"]
        moved = any(name not in before or abs(now[name] - before[name]) >= step for name in now)
        if moved or before.keys() - now.keys():
            self.observe(node, "temperatures_c", now)
            self.observe(node, "temperature_c", max(now.values(), default=None))
        self.observe(node, "throttle", self.method.look(bmc))

    def act(self, node, bmc, mutation):
        """Carries a mutation out, and tells what was seen after it."""
        verb = mutation.rpartition(".")[2]
        if verb.startswith("throttle-"):
            self.method.switch(bmc, verb.removeprefix("throttle-"))
        self.observe(node, "throttle", self.method.look(bmc))

    def observe(self, node, variable, value):
        """Tells a value that was seen; None says that it cannot be known."""
        self.send("observe", node=node["id"], variable=f"{self.name}.{variable}", value=value)

    def run(self):
        """Reads messages until the appliance says bye, or is gone: then the standard input ends."""
        for line in sys.stdin:
            message = json.loads(line)
            kind = message.get("type")
            if kind == "hello":
                self.hello(message)
            elif kind in ("discover", "action"):
                self.workers.submit(self.request, message)
            elif kind == "cancel":
                bmc = self.under_way.get(message["id"])
                if bmc is not None:
                    bmc.cancel()
            elif kind == "error":
                print(f"the appliance says: {message.get('detail')}", file=sys.stderr)
            elif kind == "bye":
                break
            else:
                self.send("error", detail=f"a message of type {kind!r} is not known here")
        for bmc in list(self.under_way.values()):
            bmc.cancel()
        self.workers.shutdown(cancel_futures=True)


if __name__ == "__main__":
    try:
        Module().run()
    except Refused as error:
        sys.exit(str(error))
