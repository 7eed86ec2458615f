"""requests and httpx against a keyward in front of httpbin: the calls their users make, with plain assertions.

The addresses (PLAIN, SECURE), the root certificate (ROOT) and a key (SECRET) come from the environment.
"""

import os
import ssl

import httpx
import requests

PLAIN, SECURE, ROOT = os.environ["PLAIN"], os.environ["SECURE"], os.environ["ROOT"]
TOKEN = {"Authorization": f"Bearer {os.environ['SECRET']}"}


def with_requests():
    with requests.Session() as session:
        # The environment of the machine, with its proxies and roots, is not part of the test.
        session.trust_env = False
        session.headers.update(TOKEN)
        session.verify = ROOT
        for base in (PLAIN, SECURE):
            assert session.get(f"{base}/get", params={"a": "ä b"}).json()["args"] == {"a": "ä b"}
            assert session.post(f"{base}/post", json={"a": 1}).json()["json"] == {"a": 1}
            sent = session.post(f"{base}/post", data=(part for part in (b"one", b"two")))
            assert sent.json()["data"] == "onetwo", sent.text
            assert session.head(f"{base}/get").status_code == 200
            assert session.get(f"{base}/gzip").json()["gzipped"] is True
            assert session.get(f"{base}/redirect/2").history[0].status_code == 302
            assert len(list(session.get(f"{base}/stream/3", stream=True).iter_lines())) == 3
        del session.headers["Authorization"]
        refused = session.get(f"{PLAIN}/get")
        assert refused.status_code == 401 and refused.json()["code"] == "API_KEY_REQUIRED", refused.text
    print("requests ok")


def with_httpx():
    trust = ssl.create_default_context(cafile=ROOT)
    with httpx.Client(http2=True, verify=trust, headers=TOKEN, trust_env=False) as client:
        answer = client.get(f"{SECURE}/get")
        assert (answer.http_version, answer.status_code) == ("HTTP/2", 200), answer
        sent = client.post(f"{SECURE}/post", content=(part for part in (b"one", b"two")))
        assert sent.json()["data"] == "onetwo", sent.text
        refused = client.get(f"{SECURE}/get", headers={"Authorization": "Bearer not-a-key-of-anybody"})
        assert refused.status_code == 401 and refused.json()["code"] == "API_KEY_INVALID", refused.text
    with httpx.Client(headers=TOKEN, trust_env=False) as client:
        assert client.get(f"{PLAIN}/get").http_version == "HTTP/1.1"
    print("httpx ok")


with_requests()
with_httpx()
