"""The JeVois driver against a double of the camera; none of this was said to a real camera."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import zlib
from functools import lru_cache
from typing import Any

import pytest
from driver_contract import check_driver
from hardware_deployments import small_deployment
from hypothesis import given, settings
from hypothesis import strategies as st
from jevois_double import ROOT, STEPS, Fault, JeVoisDouble
from test_hardware_graphs import images_for, trained_looking_weights

from emnas_gym.errors import EmNASError
from emnas_gym.graph import GraphBuilder
from emnas_gym.registry import resolve
from hardware.deployment import Deployment, deploy
from hardware.drivers.jevois import JeVoisDriver, labels, predicted_ms
from hardware.errors import (
    DeviceError,
    DeviceLost,
    DeviceRefused,
    DeviceTimeout,
    ProtocolError,
)
from hardware.reading import Repeats

pytest.importorskip("serial", reason="needs the package pyserial")
pytest.importorskip("ai_edge_litert", reason="needs the package ai-edge-litert")

REPEATS = Repeats(timed=4, warm_up=2, seconds=20.0)


@lru_cache
def colour_deployment(size: int = 8, classes: int = 4) -> Deployment:
    """A network of three channels; float32, which the camera's runtime takes as well as uint8."""
    builder = GraphBuilder((size, size, 3))
    builder.window("conv2d", 3, 2, "same", filters=3, activation="relu")
    builder.dense(classes)
    builder.pointwise("softmax")
    graph = builder.build()
    made = deploy(graph, trained_looking_weights(graph), images_for(graph, 4), ("float32",))
    return dataclasses.replace(made, files={"uint8": made.files["float32"]})


def opened(double: JeVoisDouble, **options: Any) -> JeVoisDriver:
    return JeVoisDriver(double.path, **{"settle_seconds": 0.03} | options)


def hasty(double: JeVoisDouble, **options: Any) -> JeVoisDriver:
    return opened(double, **{"answer_seconds": 0.4, "load_seconds": 0.1} | options)


EVERY = (*STEPS, "streamoff")  # the last of the stream, not that of a killed program
SOME = ("fileput", "JEVOIS_FILEPUT", "streamon")
AT_EACH_STEP = pytest.mark.parametrize(
    "step", [step if step in SOME else pytest.param(step, marks=pytest.mark.slow) for step in EVERY]
)
HASTY = Repeats(timed=4, warm_up=2, seconds=0.2)


# ----------------------------------------------------------------------------------- a good camera


def test_it_keeps_the_contract_of_all_drivers() -> None:  # E3, E10, E16
    with JeVoisDouble(times=["40ms", *["12ms"] * 30]) as camera:
        reading = check_driver(lambda: opened(camera), colour_deployment())
        assert camera.wrong == []
    assert reading.provenance == "board"
    assert reading.difference is None
    assert reading.threads == 4
    assert reading.warm_up == 1
    assert reading.latency_ms == 12.0, "the first frame is not one of the timed ones"
    assert "47C" in reading.notes[0]
    assert reading.firmware == "JeVois 1.20.0, Linux version 3.4.39"


def test_the_registry_knows_it() -> None:
    assert resolve("driver", "jevois") is JeVoisDriver
    with JeVoisDouble() as camera, opened(camera) as driver:
        with pytest.raises(DeviceRefused, match="as uint8"):
            driver.measure(small_deployment(), REPEATS)


def test_what_is_said_and_what_comes_back() -> None:
    content = colour_deployment().file("uint8")
    folder = f"{ROOT}/emnas-{zlib.crc32(content):08x}"
    names = b"class0\nclass1\nclass2\nclass3\n"
    said: list[tuple[str, bytes]] = []

    def listen(direction: str, data: bytes) -> None:
        said.append((direction, data))

    with JeVoisDouble() as camera, opened(camera, threads=2, transcript=listen) as driver:
        driver.measure(colour_deployment(), REPEATS)
        assert camera.wrong == []
        assert camera.parameters["threads"] == "2"
        assert (camera.streaming, camera.serlog, camera.files) == (False, "None", {})
    sent = b"".join(data for direction, data in said if direction == ">")
    sent, echoes = re.subn(rb"shell echo [0-9a-f]{8}\n", b"shell echo 8 digits\n", sent)
    assert echoes == 2, "of opening, and of the measurement"
    assert sent == b"".join(
        [
            b"ping\nshell echo 8 digits\n" * 2,
            b"streamoff\ngetpar serlog\n",
            f"shell mkdir -p {folder}\n".encode(),
            f"fileput {folder}/labels.txt\nJEVOIS_FILEPUT 28\n".encode() + names,
            f"shell md5sum {folder}/labels.txt\n".encode(),
            f"fileput {folder}/model.tflite\nJEVOIS_FILEPUT {len(content)}\n".encode() + content,
            f"shell md5sum {folder}/model.tflite\n".encode(),
            b"setmapping2 YUYV 320 240 30.0 JeVois TensorFlowSingle\n",
            f"setpar threads 2\nsetpar netdir {folder.rpartition('/')[2]}\n".encode(),
            b"setpar serlog USB\nstreamon\nstreamoff\nsetpar serlog None\n",
            f"shell rm -rf {folder}\ninfo\n".encode(),
        ]
    )
    came = b"".join(data for direction, data in said if direction == "<").decode()
    lines = [line for line in came.split("\r\n") if not line.startswith("INF ")]
    sums = [hashlib.md5(c, usedforsecurity=False).hexdigest() for c in (names, content)]
    greeting = ["ALIVE", "OK", "8 digits", "OK"]
    assert [re.sub(r"^[0-9a-f]{8}$", "8 digits", line) for line in lines] == [
        *greeting * 2,
        *["ERR Unsupported command [streamoff]", "serlog None", "OK", "OK"],
        *["OK", f"{sums[0]}  {folder}/labels.txt", "OK"],
        *["OK", f"{sums[1]}  {folder}/model.tflite", "OK"],
        *["OK"] * 8,  # mapping, threads, netdir, serlog, streamon, streamoff, serlog, rm
        "INFO: JeVois 1.20.0",
        "INFO: Linux version 3.4.39",
        "INFO: CPU: 1344MHz, 47C, load: 1.02 1.01 0.86 1/50 83",
        "INFO: MemTotal: 238452 kB, MemFree: 194292 kB",
        "INFO: OUTPUT: NONE 0x0 @ 0fps CAMERA: YUYV 320x240 @ 30fps MODULE: TensorFlowSingle",
        *["OK", ""],
    ]


@pytest.mark.parametrize("found", ["All", "Hard"])
def test_the_log_goes_where_it_went_before(found: str) -> None:
    noise = ["INF Camera::grab: a frame", "DBG Engine::mainLoop: sleeping..."]
    with JeVoisDouble(serlog=found, noise=noise) as camera:
        with opened(camera) as driver:
            driver.measure(colour_deployment(), REPEATS)
        assert camera.serlog == found


def test_a_camera_that_still_streams_for_a_killed_program() -> None:
    with JeVoisDouble(serlog="USB") as camera:
        camera.mapped = camera.streaming = True
        camera.size = (320, 240)
        with opened(camera) as driver:
            assert driver.measure(colour_deployment(), REPEATS).latency_ms > 12
        assert camera.wrong == []


@pytest.mark.parametrize(
    "frame",
    [
        "INF process: Predicted in   {}.",
        "[123.4] ERR TensorFlowSingle::process: Predicted in {} ",
    ],
)
def test_log_lines_of_every_form(frame: str) -> None:
    noise = ["ERR Camera::process: a frame was lost", "INF x", "RECO class0:33.0 class1:20.0", ""]
    with JeVoisDouble(frame=frame, noise=noise) as camera, opened(camera) as driver:
        assert driver.measure(colour_deployment(), REPEATS).latency_ms == pytest.approx(12.4)


def test_units_are_those_of_each_line() -> None:
    times = ["9s", "9s", "0.5s", "500 ms", "500000us", "500000 µs"]
    with JeVoisDouble(times=times) as camera, opened(camera) as driver:
        reading = driver.measure(colour_deployment(), REPEATS)
    assert reading.ticks == pytest.approx((500.0,) * 4)
    assert reading.ticks_per_second == 1000


# -------------------------------------------------------------------------- networks it cannot run


def test_the_camera_says_in_its_words_what_it_cannot_run() -> None:
    colour = colour_deployment()
    gray = small_deployment(("float32",))
    with JeVoisDouble() as camera, opened(camera) as driver:
        for made, content, words in [
            (colour, colour.tflite, "FTL .*only uint8 or float32"),
            (gray, gray.files["float32"], "FTL .*wants Gray"),
            (colour, b"nothing", "FTL .*Failed to construct interpreter"),
        ]:
            asked = dataclasses.replace(made, files={"uint8": content})
            with pytest.raises(DeviceRefused, match=words):
                driver.measure(asked, REPEATS)
            assert (camera.streaming, camera.serlog, camera.files) == (False, "None", {})
        assert driver.measure(colour, REPEATS).latency_ms > 12, "the next one is measured"
        assert camera.wrong == []


def test_an_image_larger_than_the_cameras() -> None:
    with JeVoisDouble() as camera, opened(camera, camera="YUYV 6 6 30.0") as driver:
        with pytest.raises(DeviceRefused, match="larger than camera"):
            driver.measure(colour_deployment(), REPEATS)


def test_a_network_faster_than_the_clock() -> None:
    with JeVoisDouble(times=["0ms", "0ms", "0ms", "0ms", "1ms"]) as camera:
        with opened(camera) as driver, pytest.raises(DeviceRefused, match="the millisecond of"):
            driver.measure(colour_deployment(), REPEATS)


def test_labels_are_as_many_as_classes() -> None:
    """The camera pads them to 16 itself, and reads a score for each line of the file."""
    assert labels(10).splitlines() == [f"class{i}".encode() for i in range(10)]
    assert labels(10).endswith(b"\n")


# ------------------------------------------------------------------------------------ a bad camera


def test_a_file_damaged_on_the_way_is_sent_again_once() -> None:
    with JeVoisDouble(damaged=1) as camera, opened(camera) as driver:
        driver.measure(colour_deployment(), REPEATS)
        assert [line.split("/")[-1] for line in camera.heard if line.startswith("fileput")] == [
            "labels.txt",
            "labels.txt",
            "model.tflite",
        ]
    with JeVoisDouble(damaged=2) as camera, opened(camera) as driver:
        with pytest.raises(ProtocolError, match=r"labels.txt arrived damaged twice"):
            driver.measure(colour_deployment(), REPEATS)
        assert camera.files == {}
        driver.measure(colour_deployment(), REPEATS)


def _times(step: str) -> int:
    """The first ping and echo are those of opening; all others come in a measurement."""
    return 2 if step in ("ping", "shell echo") else 1


@AT_EACH_STEP
def test_err_at_each_step_is_a_refusal_in_its_words(step: str) -> None:
    fault = Fault(step, "err", 2 if step == "streamoff" else _times(step))
    with JeVoisDouble(fault=fault) as camera, opened(camera, answer_seconds=2.0) as driver:
        with pytest.raises(DeviceRefused, match="the double was told to"):
            driver.measure(colour_deployment(), REPEATS)
        if step != "streamoff":
            assert not camera.streaming
        if step != "JEVOIS_FILEPUT":  # there the double leaves a half of the file unread
            assert camera.wrong == []
            driver.measure(colour_deployment(), REPEATS)
        if step == "fileput":
            assert camera.heard.count("JEVOIS_FILEPUT 28") == 1, "no bytes after the refusal"


@AT_EACH_STEP
def test_unplugged_at_each_step_it_is_lost(step: str) -> None:
    fault = Fault(step, "unplug", 2 if step == "streamoff" else _times(step))
    with JeVoisDouble(fault=fault) as camera:
        with opened(camera) as driver:
            with pytest.raises(DeviceLost):
                driver.measure(colour_deployment(), REPEATS)
            with pytest.raises(DeviceLost):
                driver.measure(colour_deployment(), REPEATS)


@AT_EACH_STEP
def test_silence_at_each_step_is_a_timeout(step: str) -> None:
    fault = Fault(step, "hang", 2 if step == "streamoff" else _times(step))
    sent: list[bytes] = []

    def listen(direction: str, data: bytes) -> None:
        if direction == ">":
            sent.append(data)

    with JeVoisDouble(fault=fault) as camera, hasty(camera, transcript=listen) as driver:
        with pytest.raises(DeviceTimeout, match=r"no .* in 0\.") as caught:
            driver.measure(colour_deployment(), HASTY)
        if step == "JEVOIS_FILEPUT":  # nothing more is sent, for it would be part of the file
            assert "plug it in again" in str(caught.value)
            with pytest.raises(DeviceTimeout, match="plug it in again"):
                driver.measure(colour_deployment(), HASTY)
            assert sent[-1] == b"JEVOIS_FILEPUT 28\n" + labels(4)


@pytest.mark.parametrize("kind", ["garbage", "flood", "endless"])
@pytest.mark.parametrize(
    "step",
    [
        *("fileput", "streamon"),
        *(pytest.param(s, marks=pytest.mark.slow) for s in ("ping", "info")),
    ],
)
def test_what_no_camera_says_is_a_protocol_error(step: str, kind: str) -> None:
    with JeVoisDouble(fault=Fault(step, kind, _times(step))) as camera:
        options = {"answer_seconds": 5.0 if kind == "flood" else 1.0}  # a flood takes a moment
        options["settle_seconds"] = 1.5 if step == "fileput" else 0.05
        with hasty(camera, **options) as driver, pytest.raises(ProtocolError):
            driver.measure(colour_deployment(), HASTY)


def test_errors_in_the_log_alone_are_told_where_nothing_else_comes() -> None:
    frame = "ERR TensorFlow::Report: Didn't find op for builtin opcode {}"
    with JeVoisDouble(frame=frame) as camera, hasty(camera) as driver:
        with pytest.raises(DeviceRefused, match="no 6 predictions .0 came.*Didn't find op"):
            driver.measure(colour_deployment(), HASTY)
        assert not camera.streaming


def test_a_late_answer_is_not_taken_for_the_next_one() -> None:
    with JeVoisDouble(fault=Fault("getpar serlog", "late")) as camera, hasty(camera) as driver:
        with pytest.raises(DeviceTimeout, match="getpar"):
            driver.measure(colour_deployment(), REPEATS)
        camera._fault = Fault("ping", "late", 3)
        camera.go_on.set()
        with pytest.raises(DeviceTimeout, match="no answer to 'ping'"):
            driver.measure(colour_deployment(), REPEATS)
        camera.go_on.set()
        driver._shell.seconds = 10.0
        for _ in range(2):
            assert driver.measure(colour_deployment(), REPEATS).latency_ms > 12
        assert camera.wrong == []


def test_nothing_on_the_line_is_no_camera() -> None:
    with JeVoisDouble(fault=Fault("ping", "hang")) as camera:
        with pytest.raises(DeviceTimeout, match="no answer to 'ping'"):
            hasty(camera)
        with pytest.raises(DeviceTimeout):  # and the port was let go
            hasty(camera)
    with JeVoisDouble(fault=Fault("ping", "err")) as camera:
        with pytest.raises(DeviceRefused, match="told to"):
            hasty(camera)


@pytest.mark.parametrize(
    "options",
    [{"threads": 0}, {"threads": 99}, {"camera": "YUYV 320"}, {"camera": "YUYV 1 1 1\nrestart"}],
)
def test_options_that_no_camera_knows(options: dict[str, Any]) -> None:
    with pytest.raises(EmNASError, match="threads|camera format"):
        JeVoisDriver("/dev/null", **options)


# ------------------------------------------------------------------------------------- its parsers


@pytest.mark.parametrize(
    ("line", "milliseconds"),
    [
        ("INF TensorFlowSingle::process: Predicted in 12.3ms", 12.3),
        ("DBG TensorFlowSingle::process: Predicted in 12 ms", 12.0),
        ("ERR TensorFlowSingle::process: Predicted in 12ms", 12.0),
        ("FTL TensorFlowSingle::process: Predicted in 12ms", 12.0),
        ("Predicted in 12 ms", 12.0),
        ("Predicted in 1e+03ms", 1000.0),
        ("Predicted in 1.5s", 1500.0),
        ("Predicted in 850us", 0.85),
        ("Predicted in 850 µs", 0.85),
        ("INF TensorFlowSingle::process: Predict time: 5ms", None),
        ("Predicted in a while", None),
        ("OK", None),
    ],
)
def test_times_of_the_log(line: str, milliseconds: float | None) -> None:
    assert predicted_ms(line) == (milliseconds and pytest.approx(milliseconds))


@pytest.mark.parametrize("words", ["12", "12.3parsec", "12 h", "4000s", "1e999ms", "9e99s"])
def test_what_is_no_time_of_a_run(words: str) -> None:
    with pytest.raises(ProtocolError, match="no time of one run"):
        predicted_ms(f"INF TensorFlowSingle::process: Predicted in {words}")


@given(st.text(max_size=60), st.text(alphabet="0123456789.eE+-µums ", max_size=12))
def test_whatever_is_logged_is_a_time_or_none_or_a_protocol_error(before: str, after: str) -> None:
    for line in (before, f"{before}Predicted in {after}{before}"):
        try:
            time = predicted_ms(line)
        except ProtocolError:
            continue
        assert time is None or 0 <= time <= 3.6e6


@settings(max_examples=8, deadline=None)
@given(st.binary(min_size=1, max_size=300))
def test_whatever_a_device_says_it_is_a_typed_error_in_time(words: bytes) -> None:
    """Bytes in the place of the answer to a command, and silence after them."""
    with JeVoisDouble(fault=Fault("info", "hang")) as camera:
        with hasty(camera, answer_seconds=0.05) as driver:
            camera._write(words)
            with pytest.raises(DeviceError):
                driver.describe()
