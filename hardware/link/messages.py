"""The numbers that both ends of the framed link agree on; `firmware/agent.h` has them in C.

| request | payload | answer |
| --- | --- | --- |
| HELLO | magic, version | `GREETING`, the capacity of each slot, name |
| BEGIN | slot, length, CRC-32 | how many of these bytes are there already |
| PUT | slot, offset, bytes | how many are there now |
| COMMIT | slot | CRC-32 of what lies there |
| READ | slot, offset, count | bytes |
| RUN | repeats, warm-ups | ticks of each repeat, 8 bytes each |
| PROFILE | | ticks of each operator, 4 bytes each |
| REPORT | | `STATE`, and the number of threads where that is not one |

A device that runs .tflite files itself has a slot `TFLITE`, and one for our firmware's models of
no bytes.
"""

from __future__ import annotations

import struct

MAGIC, VERSION = b"EMNS", 1
HELLO, BEGIN, PUT, COMMIT, READ = 0x01, 0x02, 0x03, 0x04, 0x05
RUN, PROFILE, REPORT = 0x06, 0x07, 0x08
ANSWER, REFUSAL, PROGRESS, NOTE = 0x80, 0xFF, 0xFE, 0xFD
MODEL, INPUT, OUTPUT, TFLITE = 0, 1, 2, 3  # slots
MOST_REPEATS = 100  # of one request
# magic, version, slots, largest payload, ticks a second
GREETING = struct.Struct("<4sBBHI")
# arena there, arena needed, stack used, operators, two checksums
STATE, THREADS = struct.Struct("<6I"), struct.Struct("<I")
