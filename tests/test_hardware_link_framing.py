"""Frames: whatever goes in comes out, and whatever the line does to them is noticed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware.link.framing import (
    MAX_ENCODED,
    MAX_PAYLOAD,
    Frame,
    Unpacker,
    pack,
    stuff,
    unstuff,
)

FRAMES = st.builds(
    Frame,
    kind=st.integers(0, 255),
    seq=st.integers(0, 65_535),
    payload=st.binary(max_size=MAX_PAYLOAD),
)
ZEROS_AND_RUNS = st.lists(
    st.sampled_from([b"\0", b"\x01", b"\xff", bytes(range(1, 255)), b"\x07" * 254]), max_size=8
).map(b"".join)


@pytest.mark.parametrize(
    ("plain", "coded"),  # the examples of Cheshire and Baker's paper and of its erratum cases
    [
        ("00", "0101"),
        ("0000", "010101"),
        ("112200 33", "0311220233"),
        ("11223344", "0511223344"),
        ("11000000", "0211010101"),
    ],
)
def test_known_encodings(plain: str, coded: str) -> None:
    assert stuff(bytes.fromhex(plain)) == bytes.fromhex(coded)
    assert unstuff(bytes.fromhex(coded)) == bytes.fromhex(plain)


@given(st.binary(max_size=1200) | ZEROS_AND_RUNS)
def test_stuffing_leaves_no_zero_and_loses_nothing(data: bytes) -> None:
    coded = stuff(data)
    assert 0 not in coded
    assert len(coded) <= len(data) + len(data) // 254 + 1
    assert unstuff(coded) == data


@given(st.lists(FRAMES, max_size=5), st.lists(st.integers(1, 64), min_size=1, max_size=9))
def test_frames_come_out_however_the_stream_is_cut(frames: list[Frame], cuts: list[int]) -> None:
    stream = b"".join(map(pack, frames))
    unpacker, found, at = Unpacker(), [], 0
    for i in range(len(stream)):
        step = cuts[i % len(cuts)]
        found += unpacker.feed(stream[at : at + step])
        at += step
    assert found == frames
    assert unpacker.damaged == 0


@given(FRAMES, FRAMES, st.data())
def test_a_changed_byte_costs_one_frame_and_no_other(
    broken: Frame, whole: Frame, data: st.DataObject
) -> None:
    stream = bytearray(pack(broken))
    place = data.draw(st.integers(1, len(stream) - 2))
    stream[place] ^= data.draw(st.integers(1, 255))
    found = Unpacker().feed(bytes(stream) + pack(whole))
    assert found == [whole]


@given(FRAMES, st.data())
def test_a_lost_or_doubled_byte_is_noticed(frame: Frame, data: st.DataObject) -> None:
    stream = pack(frame)
    place = data.draw(st.integers(1, len(stream) - 2))
    for changed in (stream[:place] + stream[place + 1 :], stream[:place] + stream[place - 1 :]):
        found = Unpacker().feed(changed)
        assert found in ([], [frame]), "never another frame"


@given(st.binary(max_size=400))
def test_noise_is_never_a_frame(noise: bytes) -> None:
    for frame in Unpacker().feed(noise + b"\0"):
        assert pack(frame)[1:-1] in noise, "only what carries its own checksum"


def test_endless_babble_takes_no_memory() -> None:
    unpacker = Unpacker()
    for _ in range(300):
        assert unpacker.feed(b"\x55" * 4096) == []
    assert len(unpacker._part) <= MAX_ENCODED
    assert unpacker.feed(pack(Frame(1, 2, b"x"))) == [Frame(1, 2, b"x")]
    assert unpacker.damaged == 1


@pytest.mark.parametrize(
    "frame", [Frame(256, 0), Frame(0, 65_536), Frame(-1, 0), Frame(0, 0, bytes(MAX_PAYLOAD + 1))]
)
def test_what_is_no_frame_cannot_be_packed(frame: Frame) -> None:
    with pytest.raises(ValueError, match=r"out of range|holds 1024 bytes"):
        pack(frame)
