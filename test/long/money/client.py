"""The official clients for Python, in the hands of callers who want all that they can get.

usage: client.py TASK, a JSON as calls.ts has it. Prints one line of JSON for each call.
"""

import asyncio
import json
import math
import random
import sys

import anthropic
import openai

task = json.loads(sys.argv[1])
chances = random.Random(task["seed"])
calls = []


async def read(stream, wish):
    """Reads a stream to its end, or to where the caller leaves."""
    async for _ in stream:
        wish["events"] += 1
        if wish["events"] >= wish["leaves_after"]:
            await stream.close()
            break


async def chat(clients, wish):
    stream = await clients[0].chat.completions.create(
        model=wish["model"],
        messages=[{"role": "user", "content": wish["content"]}],
        stream=True,
        extra_headers={"x-request-id": wish["id"]},
        **({} if wish["bound"] is None else {"max_tokens": wish["bound"]}),
    )
    await read(stream, wish)


async def responses(clients, wish):
    stream = await clients[0].responses.create(
        model=wish["model"],
        input=wish["content"],
        stream=True,
        extra_headers={"x-request-id": wish["id"]},
        **({} if wish["bound"] is None else {"max_output_tokens": wish["bound"]}),
    )
    await read(stream, wish)


async def messages(clients, wish):
    stream = await clients[1].messages.create(
        model=wish["model"],
        max_tokens=wish["bound"] or 80,
        messages=[{"role": "user", "content": wish["content"]}],
        stream=True,
        extra_headers={"x-request-id": wish["id"]},
    )
    await read(stream, wish)


async def call_once(clients, name):
    """Makes one call, and notes what came of it. Gives the status."""
    wish = {
        "id": name,
        "model": chances.choice(task["models"]),
        "content": "tell me more. " * chances.randint(1, 20),
        "bound": chances.randint(20, 80) if chances.random() < 0.75 else None,
        "leaves_after": chances.randint(1, 15) if chances.random() < 0.25 else math.inf,
        "events": 0,
    }
    kind = chances.choice([chat, chat, responses, messages])
    status, told = 200, {}
    try:
        await kind(chances.choice(clients), wish)
    except Exception as error:
        status = getattr(error, "status_code", None) or 0
        told = {"fault": f"{type(error).__name__}: {error}"[:300]}
    left = wish["events"] >= wish["leaves_after"]
    calls.append({"id": name, "model": wish["model"], "status": status, "events": wish["events"], "left": left, **told})
    return status


async def caller(clients, number):
    refused = 0
    for n in range(task["most"]):
        if refused >= task["refusals"]:
            break
        status = await call_once(clients, f"{task['name']}-{number}-{n}")
        refused = refused + 1 if status == 429 else 0
        if status != 200:
            await asyncio.sleep(0.02 + chances.random() * 0.2)


async def main():
    clients = [
        (
            openai.AsyncOpenAI(base_url=f"{base}/v1", api_key=task["key"], max_retries=0),
            anthropic.AsyncAnthropic(base_url=f"{base}/anthropic", api_key=task["key"], max_retries=0),
        )
        for base in task["bases"]
    ]
    await asyncio.gather(*(caller(clients, number) for number in range(task["streams"])))


asyncio.run(main())
for call in calls:
    print(json.dumps(call))
