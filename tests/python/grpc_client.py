"""A foreign gRPC client: does as the lines on its input say and prints one line for each.

check ADDRESS NAME      the status, or the code
list ADDRESS            every name with its status
watch ADDRESS NAME      opens a stream; `next` prints what it says next, or its code at the end
balance ADDRESSES NAME  a round_robin channel that asks each backend for the health of NAME
who NAMES COUNT         of COUNT calls for each name, how many its backend answered

A name is in quotes, so that it may be empty. Backends are told apart by a service that each has alone.
"""

import collections
import json
import shlex
import sys

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

MAXIMUM_WAIT = 20  # seconds; far more than anything here takes
STATUS = health_pb2.HealthCheckResponse.ServingStatus

channels = {}
balanced = None
stream = None


def stub(address):
    if address not in channels:
        channels[address] = grpc.insecure_channel(address)
    return health_pb2_grpc.HealthStub(channels[address])


def ask(name):
    return health_pb2.HealthCheckRequest(service=name)


def check(address, name):
    return STATUS.Name(stub(address).Check(ask(name), timeout=MAXIMUM_WAIT).status)


def list_(address):
    statuses = stub(address).List(health_pb2.HealthListRequest(), timeout=MAXIMUM_WAIT).statuses
    return " ".join(f"{name!r}={STATUS.Name(statuses[name].status)}" for name in sorted(statuses))


def watch(address, name):
    global stream
    stream = stub(address).Watch(ask(name))
    return "open"


def next_():
    for response in stream:
        return STATUS.Name(response.status)
    return "OK"


def balance(addresses, name):
    global balanced
    config = {
        "loadBalancingConfig": [{"round_robin": {}}],
        "healthCheckConfig": {"serviceName": name},
    }
    options = [
        ("grpc.service_config", json.dumps(config)),
        # Made from several addresses, the authority would be none, and hyper refuses it.
        ("grpc.default_authority", "backends"),
        ("grpc.enable_retries", 0),
    ]
    balanced = health_pb2_grpc.HealthStub(grpc.insecure_channel(f"ipv4:{addresses}", options))
    return "open"


def who(names, count):
    answered = collections.Counter()
    for name in names.split(","):
        # In a row: name by name in turn, the channel's own turns could miss each of them.
        for _ in range(int(count)):
            try:
                # Which of them answers is the channel's choice; it knows the name or it does not.
                balanced.Check(ask(name), timeout=MAXIMUM_WAIT, wait_for_ready=True)
                answered[name] += 1
            except grpc.RpcError as error:
                if error.code() != grpc.StatusCode.NOT_FOUND:
                    raise
    return " ".join(f"{name}={answered[name]}" for name in names.split(","))


COMMANDS = {
    "check": check,
    "list": list_,
    "watch": watch,
    "next": next_,
    "balance": balance,
    "who": who,
}

for line in sys.stdin:
    command, *arguments = shlex.split(line)
    try:
        answer = COMMANDS[command](*arguments)
    except grpc.RpcError as error:
        answer = error.code().name
    print(answer, flush=True)
