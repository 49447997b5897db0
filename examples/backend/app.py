"""A small backend before Sightline: takes scans, has them analysed, hears how it ended, and tells its pages.

ML_SERVICE_TOKEN=... SIGHTLINE_URL=http://127.0.0.1:8000 uvicorn app:app --port 8080
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
from fastapi import FastAPI, HTTPException, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import HTMLResponse, StreamingResponse
from standardwebhooks import Webhook, WebhookVerificationError

TOKEN = os.environ["ML_SERVICE_TOKEN"]
SIGHTLINE = os.environ.get("SIGHTLINE_URL", "http://127.0.0.1:8000")
# What signs the completions: the setting backend.secret, else a secret made from the token.
SIGNED = Webhook(
    os.environ.get("BACKEND_SECRET") or "whsec_" + base64.b64encode(hashlib.sha256(TOKEN.encode()).digest()).decode()
)
PAGE = Path(__file__).with_name("page.html")

jobs: dict[str, dict[str, Any]] = {}  # a real backend keeps these in its database
heard: set[str] = set()  # ids of messages: each comes at least once, so some come twice
pages: set[WebSocket] = set()


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    headers = {"authorization": f"Bearer {TOKEN}"}
    async with httpx2.AsyncClient(base_url=SIGHTLINE, headers=headers, timeout=60) as app.state.sightline:
        yield


app = FastAPI(title="Backend", lifespan=lifespan)


@app.get("/")
def page() -> HTMLResponse:
    return HTMLResponse(PAGE.read_text("utf-8"))


@app.post("/analyses", status_code=202)
async def submit(request: Request, name: str, profile: str | None = None) -> dict[str, Any]:
    """Put the body into the store under a key of its own, and ask for its analysis without waiting."""
    job, sightline = str(uuid4()), request.app.state.sightline
    key = f"uploads/{job}/{Path(name).name.lstrip('.') or 'scan'}"
    stored = await sightline.put(f"/api/v1/objects/{key}", content=request.stream())
    wish = {"job_uuid": job, "input_object": key, "profile": profile}
    asked = (
        stored if stored.is_error else await sightline.post("/infer", json=wish, headers={"prefer": "respond-async"})
    )
    if asked.is_error:
        raise HTTPException(asked.status_code, asked.json().get("detail", "Sightline refused it."))
    # The completion may have been faster than the answer.
    jobs.setdefault(job, {"job": job, "name": name, "status": "submitted"})
    return jobs[job]


@app.post("/internal/jobs/{job}/completion", status_code=204)
async def completed(job: str, request: Request) -> None:
    """Hear how a job ended. Whoever has neither the token nor the signature is nobody."""
    body = await request.body()
    shown = request.headers.get("authorization", "").removeprefix("Bearer ")
    if not hmac.compare_digest(shown.encode(), TOKEN.encode()):
        raise HTTPException(401, "wrong token")
    try:
        SIGNED.verify(body, dict(request.headers))
    except WebhookVerificationError:
        raise HTTPException(401, "wrong signature") from None
    message = request.headers["webhook-id"]
    if message in heard:
        return
    jobs[job] = {**jobs.get(job, {"job": job, "name": job}), **json.loads(body)}
    heard.add(message)  # last: a message that could not be used comes again
    await broadcast(jobs[job])


@app.get("/analyses")
def analyses() -> list[dict[str, Any]]:
    return list(jobs.values())


@app.get("/analyses/{job}/{what}")
async def download(job: str, what: str, request: Request) -> StreamingResponse:
    """Give a file of a job: `output` (the mask), `json` or `xlsx`."""
    key = jobs.get(job, {}).get(f"{what}_object")
    if key is None:
        raise HTTPException(404, "there is no such file")
    sightline = request.app.state.sightline
    answer = await sightline.send(sightline.build_request("GET", f"/api/v1/objects/{key}"), stream=True)
    if answer.is_error:
        await answer.aclose()
        raise HTTPException(502, "the store does not give it")

    async def pieces() -> AsyncIterator[bytes]:
        try:
            async for piece in answer.aiter_bytes():
                yield piece
        finally:
            await answer.aclose()

    name = key.rpartition("/")[2]
    return StreamingResponse(pieces(), headers={"content-disposition": f'attachment; filename="{name}"'})


@app.websocket("/ws")
async def follow(socket: WebSocket) -> None:
    await socket.accept()
    pages.add(socket)
    try:
        while True:
            await socket.receive_text()
    except WebSocketDisconnect:
        pages.discard(socket)


async def broadcast(job: dict[str, Any]) -> None:
    for socket in list(pages):
        try:
            await socket.send_json(job)
        except (RuntimeError, WebSocketDisconnect):
            pages.discard(socket)
