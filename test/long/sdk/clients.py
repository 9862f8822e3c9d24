"""What the providers' Python clients get, straight and through the gateway: prints one JSON object for each case that is named.

usage: clients.py OPENAI_BASE ANTHROPIC_BASE KEY CASE...
"""

import asyncio
import json
import sys

import anthropic
import openai

openai_base, anthropic_base, key, *cases = sys.argv[1:]
client = openai.OpenAI(base_url=openai_base, api_key=key, max_retries=0)
messages_client = anthropic.Anthropic(base_url=anthropic_base, api_key=key, max_retries=0)
MESSAGES = [{"role": "user", "content": "Say something in twelve words, ü included."}]
CHAT = {"model": "m", "messages": MESSAGES, "max_tokens": 12}


def plain(it):
    """Objects of the clients as JSON has them."""
    if isinstance(it, list):
        return [plain(each) for each in it]
    return it.model_dump(mode="json", exclude_unset=True) if hasattr(it, "model_dump") else it


def naive():
    text = ""
    for chunk in client.chat.completions.create(**CHAT, stream=True):
        text += chunk.choices[0].delta.content or ""
    return text


def helped():
    with messages_client.messages.stream(**CHAT) as stream:
        return plain(stream.get_final_message())


def aborted():
    stream = client.chat.completions.create(**{**CHAT, "model": "slow", "max_tokens": 2000}, stream=True)
    events = 0
    for _ in stream:
        events += 1
        if events == 10:
            break
    stream.close()
    return events


def parallel():
    async def one(it, number):
        stream = await it.chat.completions.create(**CHAT, stream=number % 2 == 0)
        if number % 2 == 0:
            return len([chunk async for chunk in stream])
        return len(stream.choices)

    async def all_of_them():
        async with openai.AsyncOpenAI(base_url=openai_base, api_key=key, max_retries=0) as it:
            return await asyncio.gather(*(one(it, number) for number in range(40)))

    return asyncio.run(all_of_them())


def failing(**more):
    def call():
        try:
            client.chat.completions.create(**{**CHAT, **more})
        except openai.APIStatusError as error:
            return {
                "class": type(error).__name__,
                "status": error.status_code,
                "text": str(error),
                "code": error.code,
                "type": error.type,
            }

    return call


def failing_messages():
    try:
        messages_client.messages.create(**CHAT)
    except anthropic.APIStatusError as error:
        return {"class": type(error).__name__, "status": error.status_code, "text": str(error)}


CASES = {
    "chat": lambda: plain(client.chat.completions.create(**CHAT)),
    "chat streamed": lambda: plain(list(client.chat.completions.create(**CHAT, stream=True))),
    "chat streamed with usage": lambda: plain(
        list(client.chat.completions.create(**CHAT, stream=True, stream_options={"include_usage": True}))
    ),
    "completions streamed": lambda: plain(
        list(client.completions.create(model="m", prompt="hello", max_tokens=3, stream=True))
    ),
    "responses": lambda: plain(client.responses.create(model="m", input="hello")),
    "responses streamed": lambda: plain(list(client.responses.create(model="m", input="hello", stream=True))),
    "embeddings": lambda: plain(client.embeddings.create(model="m", input="hello", encoding_format="float")),
    "files": lambda: plain(client.files.create(file=("a.jsonl", b"x" * 1_000_000), purpose="batch")),
    "large files": lambda: plain(client.files.create(file=("a.jsonl", b"x" * 8_000_000), purpose="batch")),
    "messages": lambda: plain(messages_client.messages.create(**CHAT)),
    "messages streamed": lambda: plain(list(messages_client.messages.create(**CHAT, stream=True))),
    "messages by the helper": helped,
    "naive": naive,
    "aborted": aborted,
    "parallel": parallel,
    "refused": failing(),
    "too much": failing(max_tokens=2_000_000),
    "bad model": failing(model="unknown"),
    "refused messages": failing_messages,
}

for case in cases:
    print(json.dumps({"case": case, "result": CASES[case]()}), flush=True)
