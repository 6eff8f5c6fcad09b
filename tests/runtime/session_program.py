"""A worker that says which process it is; run with the URL of the store."""

import asyncio
import os
import sys

from perdure import ActivityContext, Registry, Runtime, activity


@activity(name="say")
async def say(ctx: ActivityContext, _word: str) -> str:
    return f"{os.getpid()}: {ctx.session}"


async def main() -> None:
    async with Runtime(sys.argv[1], Registry(say)):
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
