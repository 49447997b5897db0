"""Send tensors to a model of a running server, eight requests at a time."""

import asyncio

import numpy as np

from sightline import AsyncClient


async def ask() -> None:
    async with AsyncClient.from_env() as client:
        pictures_NCHW = np.random.default_rng(0).random((8, 3, 224, 224), np.float32)
        wanted = [client.infer("efficientnet-lite0", {"images": picture[None]}) for picture in pictures_NCHW]
        for number, outputs in enumerate(await asyncio.gather(*wanted)):
            [scores_NC] = outputs.values()
            print(f"picture {number}: class {scores_NC[0].argmax()} of {scores_NC.shape[1]}")


asyncio.run(ask())
