#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the seeds of fuzz_agent_event, _body and _receive: tests/fuzz/agent_seeds.py"""
import os
import shutil
import struct

CORPUS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus")


def write(target, seeds):
    folder = os.path.join(CORPUS, target)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    for name, data in seeds.items():
        with open(os.path.join(folder, name), "wb") as f:
            f.write(data)


def large(b):
    return struct.pack(">H", len(b)) + b


# ---- stored events ----

def event(kind, conn=1, msg=0, conf=0, status=0, rc=0, pq=b"F", switch=(0, 0), server=b"",
          detail=b"", data=b""):
    head = struct.pack(">BIqqqII", 1, kind, conn, msg, conf, status, rc & 0xFFFFFFFF)
    return head + pq + bytes(switch) + large(server) + large(detail) + struct.pack(">I", len(data)) + data


write("agent_event", {
    "inv": event(1, data=b"simplex:/invitation#/?v=2-7&smp=smp%3A%2F%2Fa"),
    "joined": event(2),
    "conf": event(3, conf=7, pq=b"T", server=b"localhost:5223", data=b"J's information"),
    "req": event(20, conf=3, pq=b"T", server=b"localhost:5223", data=b"may I?"),
    "info": event(4, data=b"\x00\xff information"),
    "con": event(5, pq=b"T"),
    "msg": event(6, msg=12),
    "sent": event(7, msg=3),
    "merr": event(9, msg=4, rc=-1, detail=b"AUTH"),
    "del_rcvq": event(17, server=b"a.org,b.onion:5223", rc=-100, detail=b"QUOTA"),
    "err": event(19, rc=-300, detail=b"CMD SYNTAX"),
    "rsync": event(21, conf=2, rc=-400),
    "rsync_unknown": event(21, conf=5),
    "rcvd": event(30, msg=4, status=2, data=b"read"),
    "unknown": event(1000, conn=-1),
})

# ---- bodies: flags of fuzz_agent_body.c, then what is inside the box ----

X448 = bytes.fromhex("3042300506032b656f033900")
ED25519 = bytes.fromhex("302a300506032b6570032100")


def key(prefix, fill):
    n = 56 if prefix is X448 else 32
    k = prefix + bytes([fill]) * n
    return bytes([len(k)]) + k


E2E = struct.pack(">H", 3) + key(X448, 5) + key(X448, 6) + b"0"
CONFIRM = struct.pack(">H", 7) + b"C"
MESSAGE = struct.pack(">H", 7) + b"M" + bytes(range(100))

write("agent_body", {
    "message": b"\x01_" + MESSAGE,
    "confirmation_fast": b"\x0a_" + CONFIRM + b"1" + E2E + b"ratchet",
    "confirmation_key": b"\x08K" + key(ED25519, 9) + CONFIRM + b"1" + E2E + b"ratchet",
    "confirmation_reply": b"\x08K" + key(ED25519, 9) + CONFIRM + b"0ratchet",
    "confirmation_again": b"\x0b_" + CONFIRM + b"1" + E2E + b"ratchet",
    "ratchet_key": b"\x41_" + struct.pack(">H", 7) + b"R" + E2E + b"info",
    "invitation": b"\x41_" + struct.pack(">H", 7) + b"I" + large(b"link") + b"info",
    "other_key": b"\x18_" + CONFIRM + b"0",
    "later_version": b"\x21_" + MESSAGE,
    "raw": b"\x05" + struct.pack(">H", 4) + b"0" + bytes(24) + bytes(200),
})

# ---- scripts: steps of fuzz_agent_receive.c ----

(PLAIN, MADE, ENVELOPE, CONFIRM_STEP, AGAIN, BODY, GARBAGE, QUOTA, ALLOW, SEND, TAKE, SKIP, ACK,
 SERVER, BROKEN, DELETE) = range(16)
READY, READY_PQ, INVITED, INVITED_STD, JOINING, JOINING_STD, ADDRESS = range(7)


def step(op, peer, params=b""):
    return bytes([op | peer << 4]) + params


def made(peer, rest=b"text", kind=0, off=0, flags=0):
    return step(MADE, peer, bytes([kind, off, flags]) + large(rest))


def confirm(peer, changed=0, info=b"information", params=b""):
    return step(CONFIRM_STEP, peer, bytes([changed]) + large(info) + params)


def request(number, info=b"may I?", at=0, flip=0):
    return step(CONFIRM_STEP, ADDRESS, bytes([number]) + large(info) +
                struct.pack(">HB", at, flip))


def again(peer, which=0, flags=1):
    return step(AGAIN, peer, bytes([which, flags]))


def ack(peer, back=0):
    return step(ACK, peer, bytes([back]))


def take(peer, n=3):
    return step(TAKE, peer, bytes([n]))


def send(peer, body, pq=0):
    return step(SEND, peer, bytes([pq]) + large(body))


SRV = b"\x01\x09localhost\x011" + bytes([32]) + bytes(32)
QADDR = SRV + b"\x18" + bytes(24)
RECEIPT = b"\x01" + struct.pack(">q", 2) + b"\x20" + bytes(32) + large(b"")


def joined(peer):
    """A whole handshake on the side of the initiator."""
    return (confirm(peer) + step(ALLOW, peer, b"\x02me") + take(peer) + made(peer, b"", 1) +
            take(peer) + made(peer) + ack(peer) + send(peer, b"answer") + take(peer))


write("agent_receive", {
    "requests": request(1) + step(ALLOW, ADDRESS, b"\x03yes") + request(1) + request(2) +
                step(ALLOW, ADDRESS, b"\x00") + again(ADDRESS) + request(3, b"") +
                step(ALLOW, ADDRESS, b"\x01x") + step(ALLOW, ADDRESS, b"\x00"),
    "requests_changed": request(1, at=3, flip=1) + request(2, at=20, flip=1) +
                        request(3, at=60, flip=4) + request(4, at=200, flip=2) + request(5),
    "requests_late": request(1) + step(DELETE, ADDRESS) + step(ALLOW, ADDRESS, b"\x01x") +
                     request(2),
    "address_other": made(ADDRESS) + step(ENVELOPE, ADDRESS, b"\x01\x00\x00" + large(
        struct.pack(">H", 7) + b"I" + large(b"simplex:/invitation#/?v=2") + b"info")) +
        step(ENVELOPE, ADDRESS, b"\x03\x00\x00" + large(
            struct.pack(">H", 7) + b"I" + large(b"x"))) + request(1),
    "talk": made(READY) + ack(READY) + made(READY, b"x" * 3000) + send(READY, b"hi") +
            take(READY) + made(READY) + ack(READY, 1) + ack(READY),
    "initiator": joined(INVITED),
    "initiator_standard": joined(INVITED_STD),
    "joiner": confirm(JOINING) + made(JOINING) + ack(JOINING) + send(JOINING, b"a") + take(JOINING),
    "joiner_standard": confirm(JOINING_STD) + made(JOINING_STD, b"", 1) + take(JOINING_STD) +
                       made(JOINING_STD) + ack(JOINING_STD),
    "reordered": b"".join(made(READY, b"%d" % i, 0, i, 2) for i in range(4)) +
                 again(READY, 3) + again(READY, 1) + again(READY, 2) + again(READY, 0) +
                 again(READY, 0) + made(READY),
    "repeated": made(READY) + again(READY, 0, 0) + ack(READY) + again(READY, 0, 0) +
                again(READY, 0, 1) + made(READY),
    "lost": step(SKIP, READY, b"\x20") + made(READY) + step(SKIP, READY, b"\xff") * 3 +
            made(READY),
    "quota": step(QUOTA, READY, b"\x01") + take(READY) + made(READY, QADDR, 3) +
             step(QUOTA, INVITED, b"\x01"),
    "kinds": made(READY, RECEIPT, 2) + made(READY, b"\x01" + QADDR, 7) +
             made(READY, b"\x01" + QADDR + b"T", 6) + made(READY, bytes(8), 8) +
             made(READY, b"", 9) + made(READY, b"", 1),
    "integrity": made(READY, off=5) + made(READY, off=255) + made(READY, flags=1) + made(READY),
    "absurd_number": step(PLAIN, READY, b"\0" + large(b"M\x7f" + b"\xff" * 7 + b"\0M")) +
                     step(PLAIN, READY, b"\0" + large(b"M\x80" + b"\x00" * 7 + b"\0M")) +
                     made(READY),
    "garbage": step(GARBAGE, READY, b"\x03abc" + large(b"xyz")) +
               step(BODY, READY, large(b"\0\x04" + b"0" + bytes(100))) +
               step(SERVER, READY, large(b"\x7f" * 9)) +
               step(ENVELOPE, READY, b"\0\0\0" + large(MESSAGE)) +
               step(ENVELOPE, INVITED, b"\x01\0\0" + large(CONFIRM + b"1" + E2E)) +
               step(BROKEN, READY, b"\0\x50\x01\0\x07" + large(b"text")) + made(READY),
    "post_quantum": made(READY_PQ, flags=4) + send(READY_PQ, b"a", 1) + take(READY_PQ) +
                    made(READY_PQ, flags=8) + send(READY_PQ, b"b", 2) + take(READY_PQ) +
                    made(READY, flags=4) + send(READY, b"c", 1) + take(READY) + made(READY),
    "bad_confirmations": b"".join(confirm(INVITED, 1 << i, params=b"\0\x02\0\x03\x04")
                                  for i in range(8)) + confirm(INVITED),
    "deleted": made(READY) + step(DELETE, READY) + made(READY) + ack(READY) +
               step(DELETE, INVITED) + confirm(INVITED),
})
