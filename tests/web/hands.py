"""What a user does with a mouse and a keyboard, as Chromium's protocol has it."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Any

from tests.serve.live.browser import Page

CTRL = 2


def box(page: Page, selector: str) -> tuple[float, float, float, float]:
    """Return left, top, width and height of an element, in pixels of the window."""
    script = f"(() => {{ const b = document.querySelector({json.dumps(selector)}).getBoundingClientRect();"
    left, top, width, height = page.value(f"{script} return [b.left, b.top, b.width, b.height]; }})()")
    return left, top, width, height


def mouse(page: Page, kind: str, x: float, y: float) -> None:
    """Move, press or release the left button."""
    held = {} if kind == "mouseMoved" else {"button": "left", "clickCount": 1}
    page.tell("Input.dispatchMouseEvent", type=kind, x=x, y=y, **held)


def click(page: Page, x: float, y: float) -> None:
    """Click at a place of the window."""
    for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
        mouse(page, kind, x, y)


def drag(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Take hold of a place, and let go at another one."""
    mouse(page, "mouseMoved", *start)
    mouse(page, "mousePressed", *start)
    page.tell("Input.dispatchMouseEvent", type="mouseMoved", x=end[0], y=end[1], button="left", buttons=1)
    mouse(page, "mouseReleased", *end)


def push(page: Page, word: str, within: str = "body") -> None:
    """Push the button with this word, or label, as soon as it can be pushed."""
    found = (
        f"[...document.querySelectorAll({json.dumps(within + ' :is(button, a.btn)')})].find(b => !b.disabled && "
        f"[b.innerText.trim(), b.ariaLabel].includes({json.dumps(word)}))"
    )
    page.until(f"!!{found}")
    page.value(f"{found}.click()")


def stroke(page: Page, key: str, modifiers: int = 0) -> None:
    """Press a key together with others."""
    code = {"Enter": 13, "Escape": 27, "Delete": 46, ".": 190}.get(key) or ord(key[0].upper())
    for kind in ("rawKeyDown", "keyUp"):
        page.tell("Input.dispatchKeyEvent", type=kind, key=key, modifiers=modifiers, windowsVirtualKeyCode=code)


def write(page: Page, old: str, new: str) -> None:
    """In the text of the manifest, type `new` over `old`."""
    script = """(() => { const area = document.querySelector(".yaml textarea"); area.focus();
      const at = area.value.indexOf(OLD); area.setSelectionRange(at, at + OLD.length); return at; })()"""
    assert page.value(script.replace("OLD", json.dumps(old))) >= 0, old
    page.tell("Input.insertText", text=new)


def text(page: Page) -> str:
    """Return the text of the manifest that is shown."""
    shown: str = page.value('document.querySelector(".yaml textarea").value')
    return shown


def shows(words: str) -> str:
    """JavaScript: the page shows these words."""
    return f"!!document.body?.innerText.includes({json.dumps(words)})"


def fill(page: Page, selector: str, value: Any) -> None:
    """Write into a control, as somebody who leaves it then."""
    script = """(() => { const field = document.querySelector(SELECTOR); field.focus(); field.value = VALUE;
      for (const kind of ["input", "change"]) field.dispatchEvent(new Event(kind, { bubbles: true })); })()"""
    page.value(script.replace("SELECTOR", json.dumps(selector)).replace("VALUE", json.dumps(value)))


def drop(page: Page, path: Path, media_type: str) -> None:
    """Drop a file onto the page."""
    data = base64.b64encode(path.read_bytes()).decode()
    script = """(async () => { const bytes = Uint8Array.from(atob(DATA), (c) => c.charCodeAt(0));
      const carried = new DataTransfer(); carried.items.add(new File([bytes], NAME, { type: TYPE }));
      for (const kind of ["dragover", "drop"])
        document.querySelector("main").dispatchEvent(
          new DragEvent(kind, { dataTransfer: carried, bubbles: true, cancelable: true })); })()"""
    for word, value in (("DATA", data), ("NAME", path.name), ("TYPE", media_type)):
        script = script.replace(word, json.dumps(value))
    page.value(script)


def drag_in(page: Page, *paths: Path) -> None:
    """Drop files and folders of this machine onto the page, as a file manager does, until a form takes them."""
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    left, top, width, height = box(page, "main")
    end = time.monotonic() + 30
    while not page.value("document.querySelector('dialog[open] .drop b') !== null"):
        assert time.monotonic() < end, "nothing takes what is dropped"
        for kind in ("dragEnter", "dragOver", "dragOver", "drop"):  # the browser may drop before the page has agreed
            page.tell("Input.dispatchDragEvent", type=kind, x=left + width / 2, y=top + height / 2, data=data)
        time.sleep(0.2)


def limit_uploads(page: Page, bytes_a_second: int) -> None:
    """Let what the page sends leave slowly; -1: as fast as it can."""
    page.tell(
        "Network.emulateNetworkConditions",
        offline=False,
        latency=0,
        downloadThroughput=-1,
        uploadThroughput=bytes_a_second,
    )
