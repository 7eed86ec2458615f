"""Two long answers on one HTTP/2 connection, for two keys: which of them breaks off, and that the other goes on.

URL (clear HTTP/2), FIRST and SECOND (keys) come from the environment. It says `both` once each has begun; then it says how the first
ended, takes what the second brings after that, and says `goes on`.
"""

import asyncio
import os

import httpx

URL = os.environ["URL"]


async def main():
    both, over = asyncio.Event(), asyncio.Event()
    begun = 0

    async def read(client, secret, ends):
        nonlocal begun
        headers = {"Authorization": f"Bearer {secret}"}
        async with client.stream("GET", URL, headers=headers, timeout=60) as answer:
            assert answer.http_version == "HTTP/2" and answer.status_code == 200, answer
            try:
                async for _ in answer.aiter_raw():
                    begun, first = begun + (not begun_by[ends]), not begun_by[ends]
                    begun_by[ends] = True
                    if first and begun == 2:
                        both.set()
                    if not ends and over.is_set():
                        print("goes on", flush=True)
                        return
            except httpx.RemoteProtocolError as error:
                print(f"first ended: {error}", flush=True)
                over.set()

    begun_by = {True: False, False: False}
    async with httpx.AsyncClient(http1=False, http2=True, trust_env=False) as client:
        tasks = [
            asyncio.create_task(read(client, os.environ["FIRST"], True)),
            asyncio.create_task(read(client, os.environ["SECOND"], False)),
        ]
        await both.wait()
        print("both", flush=True)
        await asyncio.gather(*tasks)


asyncio.run(main())
