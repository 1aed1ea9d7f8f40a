#!/usr/bin/env python3
"""Carries packets between a TUN/TAP device and a wire, inside one more header.

For machines whose kernel has no VLAN or tunnel devices: both ends of a link run this program, so the programs and the
TCP/IP stacks that talk through it are real, and only the header around their packets is made here.

  carry.py DEVICE MODE ARGUMENTS...       DEVICE is made here and belongs to this process
    vlan   WIRE VID             802.1Q tag                      (TAP, Ethernet frames)
    qinq   WIRE VID VID         802.1ad and 802.1Q tag          (TAP)
    mpls   WIRE MAC LABEL       MPLS to the peer's MAC          (TUN, IP packets)
    pppoe  WIRE MAC SESSION     PPPoE session stage             (TUN)
    gre    LOCAL REMOTE KEY     GRE with a key (0: without)     (TUN)
    ip     LOCAL REMOTE         IP in IPv4: protocols 4 and 41  (TUN)
    gtpu   LOCAL REMOTE TEID    GTP-U                           (TUN)
    geneve LOCAL REMOTE VNI     Geneve                          (TAP)
"""
import fcntl
import os
import select
import socket
import struct
import sys

SOL_PACKET, PACKET_AUXDATA, VLAN_VALID, OUTGOING, EVERY_PROTOCOL = 263, 8, 1 << 4, 4, 3


def is_ipv6(packet):
    return packet[0] >> 4 == 6


class Wire:
    """Ethernet frames on an interface; tags that the kernel took off on receipt are put back."""

    def __init__(self, interface):
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(EVERY_PROTOCOL))
        self.socket.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        self.socket.bind((interface, EVERY_PROTOCOL))
        self.mac = self.socket.getsockname()[4]

    def send(self, frame):
        self.socket.send(frame)

    def receive(self):
        frame, auxiliary, _, address = self.socket.recvmsg(65536, 256)
        if address[2] == OUTGOING:
            return None
        for _, _, data in auxiliary:
            status, _, _, _, _, tag, kind = struct.unpack("IIIHHHH", data[:20])
            if status & VLAN_VALID:
                frame = frame[:12] + struct.pack("!HH", kind or 0x8100, tag) + frame[12:]
        return frame


class Tagged(Wire):
    tap = True

    def __init__(self, interface, *vids):
        super().__init__(interface)
        kinds = [0x88A8] * (len(vids) - 1) + [0x8100]
        self.tags = b"".join(struct.pack("!HH", kind, int(vid)) for kind, vid in zip(kinds, vids))

    def wrap(self, frame):
        return frame[:12] + self.tags + frame[12:]

    def unwrap(self, frame):
        end = 12 + len(self.tags)
        inside = frame[:12] + frame[end:]
        return inside if frame[12:end] == self.tags and inside[12:14] != b"\x81\x00" else None


class Labelled(Wire):
    """IP packets behind an Ethernet header and a header of this program."""

    tap = False

    def __init__(self, interface, mac, number):
        super().__init__(interface)
        self.ethernet = bytes.fromhex(mac.replace(":", "")) + self.mac + self.kind
        self.number = int(number)

    def unwrap(self, frame):
        same = frame[12:14] == self.kind and self.number_of(frame[14:]) == self.number
        if not same:
            return None
        packet = frame[14 + self.header :]
        length = 40 + int.from_bytes(packet[4:6], "big") if is_ipv6(packet) else int.from_bytes(packet[2:4], "big")
        return packet[:length]


class Mpls(Labelled):
    kind, header = b"\x88\x47", 4

    def wrap(self, packet):
        return self.ethernet + struct.pack("!I", self.number << 12 | 1 << 8 | 64) + packet

    def number_of(self, payload):
        return int.from_bytes(payload[:4], "big") >> 12


class Pppoe(Labelled):
    kind, header = b"\x88\x64", 8

    def wrap(self, packet):
        protocol = 0x0057 if is_ipv6(packet) else 0x0021
        return self.ethernet + struct.pack("!BBHHH", 0x11, 0, self.number, len(packet) + 2, protocol) + packet

    def number_of(self, payload):
        return int.from_bytes(payload[2:4], "big")


class RawIp:
    """IP in IPv4. A raw socket a protocol; the kernel builds the outer header."""

    tap = False

    def __init__(self, local, remote, protocols):
        self.remote = remote
        self.sockets = {}
        for protocol in protocols:
            one = socket.socket(socket.AF_INET, socket.SOCK_RAW, protocol)
            one.bind((local, 0))
            self.sockets[protocol] = one

    def take(self, one):
        packet, (source, _) = one.recvfrom(65536)
        return packet[(packet[0] & 15) * 4 :] if source == self.remote else None


class IpInIp(RawIp):
    def __init__(self, local, remote):
        super().__init__(local, remote, (4, 41))

    def put(self, packet):
        self.sockets[41 if is_ipv6(packet) else 4].sendto(packet, (self.remote, 0))


class Gre(RawIp):
    def __init__(self, local, remote, key):
        super().__init__(local, remote, (47,))
        self.key = struct.pack("!I", int(key)) if int(key) else b""

    def put(self, packet):
        flags, kind = 0x2000 if self.key else 0, 0x86DD if is_ipv6(packet) else 0x0800
        self.sockets[47].sendto(struct.pack("!HH", flags, kind) + self.key + packet, (self.remote, 0))

    def take(self, one):
        payload = super().take(one)
        mine = payload is not None and (payload[0] & 0x20 != 0) == bool(self.key) and payload[4:].startswith(self.key)
        return payload[4 + len(self.key) :] if mine else None


class OverUdp:
    def __init__(self, local, remote, number):
        self.peer = (remote, self.port)
        self.number = int(number)
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        one.bind((local, self.port))
        self.sockets = {self.port: one}

    def put(self, packet):
        self.sockets[self.port].sendto(self.head(packet) + packet, self.peer)

    def take(self, one):
        return one.recv(65536)[8:]


class Gtpu(OverUdp):
    port, tap = 2152, False

    def head(self, packet):
        return struct.pack("!BBHI", 0x30, 255, len(packet), self.number)


class Geneve(OverUdp):
    port, tap = 6081, True

    def head(self, _packet):
        return struct.pack("!BBHI", 0, 0, 0x6558, self.number << 8)


class OnWire:
    """Makes a Wire look like the socket carriers."""

    def __init__(self, wire):
        self.wire, self.tap, self.sockets = wire, wire.tap, {0: wire.socket}

    def put(self, packet):
        self.wire.send(self.wire.wrap(packet))

    def take(self, _one):
        frame = self.wire.receive()
        return None if frame is None else self.wire.unwrap(frame)


def main(device, mode, *arguments):
    on_wire = {"vlan": Tagged, "qinq": Tagged, "mpls": Mpls, "pppoe": Pppoe}
    on_ip = {"gre": Gre, "ip": IpInIp, "gtpu": Gtpu, "geneve": Geneve}
    carrier = OnWire(on_wire[mode](*arguments)) if mode in on_wire else on_ip[mode](*arguments)
    tun = os.open("/dev/net/tun", os.O_RDWR)
    flags = (0x0002 if carrier.tap else 0x0001) | 0x1000
    fcntl.ioctl(tun, 0x400454CA, struct.pack("16sH22x", device.encode(), flags))
    print("ready", flush=True)
    while True:
        for ready in select.select([tun, *carrier.sockets.values()], [], [])[0]:
            try:
                if ready == tun:
                    carrier.put(os.read(tun, 65536))
                else:
                    packet = carrier.take(ready)
                    if packet:
                        os.write(tun, packet)
            except OSError:
                # The device is not up yet or a neighbour is not there: a packet is lost, as on any link.
                pass


main(*sys.argv[1:])
