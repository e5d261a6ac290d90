"""Python's own clients as programs: each prints one JSON line for a message. Which one, and where to, are arguments.

    python clients.py websockets|requests-stream|requests-long-poll|requests-poll|sseclient URL [COUNT]
    python clients.py django HOST PORT CHANNEL TEXT...
"""

import asyncio
import json
import sys
import time
from email.utils import formatdate


def out(value):
    print(json.dumps(value), flush=True)


def use_websockets(url, count):
    import websockets

    async def listen():
        async with websockets.connect(url, max_size=None) as socket:
            for _ in range(count):
                out(json.loads(await socket.recv()))

    asyncio.run(listen())


def use_websockets_publish(url, count):
    import websockets

    async def talk():
        async with websockets.connect(url) as socket:
            for number in range(1, count + 1):
                await socket.send(f"m{number}")
            for _ in range(count):
                out(json.loads(await socket.recv()))
            pong = await socket.ping(b"are you there")
            await asyncio.wait_for(pong, 5)

    asyncio.run(talk())


def use_requests_stream(url, count):
    import requests

    with requests.get(url, stream=True, timeout=30) as answer:
        answer.raise_for_status()
        for line in answer.iter_lines(chunk_size=1):
            out(json.loads(line))
            count -= 1
            if count == 0:
                return


def poll(url, count, pause):
    """Last-Modified comes back as If-Modified-Since, Etag as If-None-Match; one keep-alive connection."""
    import requests

    session = requests.Session()
    headers = {"If-Modified-Since": formatdate(time.time() - 2, usegmt=True)}
    while count > 0:
        answer = session.get(url, headers=headers, timeout=60)
        if answer.status_code not in (200, 304):
            raise SystemExit(f"{answer.status_code} {answer.headers}")
        decoder = json.JSONDecoder()
        text, at = answer.text, 0
        while at < len(text):
            message, at = decoder.raw_decode(text, at)
            out(message)
            count -= 1
        if "Last-Modified" in answer.headers:
            headers = {
                "If-Modified-Since": answer.headers["Last-Modified"],
                "If-None-Match": answer.headers.get("Etag", ""),
            }
        time.sleep(pause)


def use_sseclient(url, count):
    import requests
    import sseclient

    answer = requests.get(url, stream=True, headers={"Accept": "text/event-stream"}, timeout=30)
    answer.raise_for_status()
    for event in sseclient.SSEClient(answer).events():
        out({"id": event.id, "event": event.event, **json.loads(event.data)})
        count -= 1
        if count == 0:
            return


def use_django(host, port, channel, texts):
    import django
    from django.conf import settings

    settings.configure(
        NGINX_PUSH_STREAM_PUB_HOST=host,
        NGINX_PUSH_STREAM_PUB_PORT=port,
        NGINX_PUSH_STREAM_PUB_PREFIX="app_",
        INSTALLED_APPS=["nginx_push_stream"],
    )
    django.setup()
    from nginx_push_stream.core import publish_message

    for text in texts:
        out(json.loads(publish_message(channel, text=text).read()))


def main():
    name, url, *rest = sys.argv[1:]
    if name == "django":
        use_django(url, rest[0], rest[1], rest[2:])
        return
    count = int(rest[0]) if rest else 1
    {
        "websockets": use_websockets,
        "websockets-publish": use_websockets_publish,
        "requests-stream": use_requests_stream,
        "requests-long-poll": lambda u, n: poll(u, n, 0),
        "requests-poll": lambda u, n: poll(u, n, 0.05),
        "sseclient": use_sseclient,
    }[name](url, count)


main()
