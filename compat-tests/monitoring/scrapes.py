"""Reads a server's /metrics with Prometheus' own client library, which is strict, for as long as something comes on standard input: each line is
answered when all scrapes up to then were good. No counter may go back while the process is the same."""

import sys
import threading
import urllib.request

from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as older

PAGE = sys.argv[1]


def scrape(accept, kind):
    request = urllib.request.Request(PAGE, headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert kind in answer.headers["Content-Type"], answer.headers["Content-Type"]
        return answer.read().decode()


def look(last):
    counters, began = {}, None
    for family in openmetrics(scrape("application/openmetrics-text; version=1.0.0", "openmetrics")):
        for sample in family.samples:
            if sample.name == "process_start_time_seconds":
                began = sample.value
            if family.type in ("counter", "histogram"):
                counters[sample.name, tuple(sorted(sample.labels.items()))] = sample.value
    assert len(counters) > 100 and len(list(older(scrape("text/plain", "text/plain")))) > 40
    if last and last[0] == began:
        for name, value in last[1].items():
            assert counters.get(name, -1) >= value, f"{name} went from {value} to {counters.get(name)}"
    return began, counters


class Scraper(threading.Thread):
    """Scrapes until it is told to end, or something is wrong."""

    count, wrong, going = 0, None, True

    def run(self):
        last = None
        while self.going:
            try:
                last = look(last)
                self.count += 1
            except Exception as error:  # pylint: disable=broad-except
                self.wrong = f"{type(error).__name__}: {error}"
                return


scraper = Scraper(daemon=True)
scraper.start()
for _ in sys.stdin:
    # At least one that has begun after what the line stands for.
    until = scraper.count + 2
    while scraper.count < until and scraper.wrong is None:
        scraper.join(0.01)
    print(scraper.wrong or f"{scraper.count} good", flush=True)
scraper.going = False
