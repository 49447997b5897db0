"""A camera and a sensor in one case meet in event time: one alert says what both of them saw at that moment."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import DEVNULL, Popen
from typing import Any

import pytest
from tests.packs.basic.receiver import until
from tests.packs.sensors.brokers import listening, own_topic, publishing, shared_broker
from tests.programs import command, environment

CASE = """
sources:
  yard: {use: synthetic, fps: 10, realtime: true}
  boiler: {use: mqtt, url: "%(url)s", topics: ["%(topic)s/boiler"]}

collector: {use: tumbling, size_s: 0.5, across_sources: true, allowed_lateness_s: 1.5, idle_s: 3}

stages:
  analytics:
    alarm: {use: hot-and-seen, above: 80}

sinks:
  - {use: mqtt, url: "%(url)s", topic: "%(topic)s/{source}/{type}", status: "", types: [threshold.alert]}
"""
PLUGIN = '''
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sightline import Finding, Findings, Frame, Predictor, Reading, Sample


@dataclass(kw_only=True)
class HotAndSeen(Predictor):
    """An alert when the boiler is hot and the camera saw that moment."""

    above: float

    def predict(self, samples: Sequence[Sample[Any]]) -> Sequence[Findings]:
        return [self._finding(sample.payload.samples) for sample in samples]

    def _finding(self, seen: Sequence[Sample[Any]]) -> Findings:
        hot = [each for each in seen if isinstance(each.payload, Reading) and each.payload.values["t"] > self.above]
        pictures = [each for each in seen if isinstance(each.payload, Frame)]
        if not hot or not pictures:
            return Findings()
        data = {
            "t": hot[0].payload.values["t"],
            "measured": hot[0].time.isoformat(),
            "pictures": [each.time.isoformat() for each in pictures],
            "light": float(pictures[0].payload.pixels_HWC.mean()),
        }
        return Findings(items=(Finding(name="alarm", event="threshold.alert", data=data),))
'''


@pytest.mark.service("mqtt")
def test_one_alert_joins_the_camera_and_the_sensor_by_when_they_measured(tmp_path: Path) -> None:
    url, topic = shared_broker(), own_topic()
    place = tmp_path / "cases" / "boiler"
    place.mkdir(parents=True)
    (place / "case.yaml").write_text(CASE % {"url": url, "topic": topic})
    (place / "plugins.py").write_text(PLUGIN)
    alerts: list[dict[str, Any]] = []
    sent: dict[float, datetime] = {}
    with listening(url, f"{topic}/+/threshold.alert") as heard, publishing(url) as client:
        run = Popen(command("run", "boiler"), cwd=tmp_path, env=environment(tmp_path), stdout=DEVNULL, stderr=DEVNULL)
        try:
            began_s = time.monotonic()

            def hear() -> bool:
                number = len(sent)
                hot = 90.0 if number % 10 == 5 else 20.0
                taken = datetime.now(UTC) - timedelta(seconds=0.7)  # a slow way: it arrives when its window is over
                sent[hot + number / 1000] = taken
                message = {"t": hot + number / 1000, "time": taken.isoformat()}
                client.publish(f"{topic}/boiler", json.dumps(message), qos=1)
                time.sleep(0.1)
                while not heard.heard.empty():
                    alerts.append(heard.next()[1])
                return len(alerts) >= 3 or time.monotonic() - began_s > 60

            until(hear, 70)
        finally:
            run.terminate()
            run.wait(20)

    assert len(alerts) >= 3
    for alert in alerts:
        data = alert["data"]
        measured = datetime.fromisoformat(data["measured"])
        assert data["t"] > 80
        assert measured == sent[data["t"]]
        ends = datetime.fromisoformat(alert["time"])
        assert ends - timedelta(seconds=0.5) <= measured < ends  # the window of when it was measured
        pictures = [datetime.fromisoformat(each) for each in data["pictures"]]
        assert pictures
        assert all(ends - timedelta(seconds=0.5) <= each < ends for each in pictures)
        assert data["light"] > 0
