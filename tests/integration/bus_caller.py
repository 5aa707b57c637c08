#!/usr/bin/env python3
"""A client of the private bus. Prints its name on the bus, then answers each line of its input, a call as JSON, with
one line. With --record: prints each signal of org.hal9000 instead."""
import json
import os
import sys

import dbus
import dbus.bus
import dbus.lowlevel
from dbus.mainloop.glib import DBusGMainLoop

NAME = "org.hal9000"
TYPES = {"b": dbus.Boolean, "q": dbus.UInt16, "u": dbus.UInt32, "t": dbus.UInt64, "d": dbus.Double, "s": dbus.String,
         "i": dbus.Int32, "o": dbus.ObjectPath}


def typed(kind, value):
    if kind in TYPES:
        return TYPES[kind](value, variant_level=1)
    if kind == "as":
        return dbus.Array(value, signature="s", variant_level=1)
    if kind == "a{ss}":
        return dbus.Dictionary(value, signature="ss", variant_level=1)
    raise ValueError(kind)


def to_dbus(value):
    """A dictionary stands for options, {"open": PATH} for a descriptor."""
    if isinstance(value, dict) and set(value) == {"open"}:
        return dbus.types.UnixFd(os.open(value["open"], os.O_RDONLY))
    if isinstance(value, dict):
        return dbus.Dictionary({key: typed(*pair) for key, pair in value.items()}, signature="sv")
    return value


def to_json(value):
    if isinstance(value, dbus.types.UnixFd):
        return {"fd": value.take()}
    if isinstance(value, dbus.Boolean):
        return bool(value)
    if isinstance(value, dict):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    if isinstance(value, bytes):
        return list(value)
    return value


def answer(connection, request):
    message = dbus.lowlevel.MethodCallMessage(NAME, request["path"], request["interface"], request["member"])
    message.append(signature=request["signature"], *[to_dbus(value) for value in request["arguments"]])
    if request["interactive"]:
        message.set_allow_interactive_authorization(True)
    try:
        reply = connection.send_message_with_reply_and_block(message, 120)
    except dbus.DBusException as error:
        return {"error": error.get_dbus_name(), "message": error.get_dbus_message()}
    results = to_json(reply.get_args_list())
    return {"result": results[0] if len(results) == 1 else results}


def show(line):
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def record(connection):
    from gi.repository import GLib

    def on_signal(*arguments, path, member, interface):
        show({"path": path, "interface": interface, "member": member, "arguments": to_json(arguments)})

    connection.add_signal_receiver(on_signal, bus_name=NAME, path_keyword="path", member_keyword="member",
                                   interface_keyword="interface")
    print("ready", flush=True)
    GLib.MainLoop().run()


def main():
    DBusGMainLoop(set_as_default=True)
    connection = dbus.bus.BusConnection(os.environ["DBUS_SYSTEM_BUS_ADDRESS"])
    if "--record" in sys.argv:
        record(connection)
        return
    print(connection.get_unique_name(), flush=True)
    for line in sys.stdin:
        show(answer(connection, json.loads(line)))


if __name__ == "__main__":
    main()
