#!/usr/bin/env python3
"""Copies a little-endian pcapng file without what it tells of the machine that recorded it.

Capture programs put the processor, the operating system and the names of the interfaces into the options of a section
and of an interface. Kept are the unit of time of an interface and everything in packet blocks.

  plain.py FROM TO
"""
import struct
import sys

SECTION, INTERFACE, STATISTICS, UNIT_OF_TIME = 0x0A0D0D0A, 1, 5, 9


def block(kind, body):
    total = struct.pack("<I", 12 + len(body))
    return struct.pack("<I", kind) + total + body + total


def unit_of_time(options):
    kept = b""
    while len(options) >= 4:
        code, length = struct.unpack_from("<HH", options)
        end = 4 + length + (-length & 3)
        if code == UNIT_OF_TIME:
            kept += options[:end]
        options = options[end:]
    return kept + bytes(4)


source, target = sys.argv[1:]
data = open(source, "rb").read()
with open(target, "wb") as out:
    while data:
        kind, total = struct.unpack_from("<II", data)
        body, data = data[8 : total - 4], data[total:]
        if kind == SECTION:
            body = body[:16]
        elif kind == INTERFACE:
            body = body[:8] + unit_of_time(body[8:])
        elif kind == STATISTICS:
            continue
        out.write(block(kind, body))
