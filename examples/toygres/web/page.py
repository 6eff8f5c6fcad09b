"""The page, as a tree of elements: a tree escapes whatever is put into it, so nothing can be taken for HTML."""

from collections.abc import Iterable, Sequence
from urllib.parse import quote
from xml.etree import ElementTree as ET

from examples.toygres.activity_types import ImageRecord
from examples.toygres.control_plane import ServerView
from perdure import InstanceStatus

_Content = str | ET.Element


def render(
    servers: Sequence[ServerView], images: Sequence[ImageRecord], instances: Sequence[InstanceStatus[object]]
) -> str:
    """The whole page."""
    head = _tag(
        "head",
        _tag("title", "Toygres"),
        _tag("link", rel="stylesheet", href="/static/page.css"),
        _tag("script", src="/static/page.js", defer="defer"),
    )
    main = _tag(
        "main",
        _tag("h2", "Servers"),
        _table(
            ("Name", "State", "Health", "Address", "Created by", "Watched by", ""),
            [_server(each) for each in servers],
            empty="No servers. Create some above.",
        ),
        _tag("h2", "Images"),
        _table(("Name", "Of", "State", "MB", ""), [_image(each) for each in images], empty="No images of servers."),
        _tag("h2", "Orchestrations"),
        _table(
            ("Instance", "Orchestration", "Execution", "Status", "It says"),
            [_instance(each) for each in instances],
            empty="Nothing has happened yet.",
        ),
    )
    html = _tag("html", head, _tag("body", _tag("h1", "Toygres"), _forms(), main), lang="en")
    return "<!doctype html>\n" + ET.tostring(html, encoding="unicode", method="html")


def _forms() -> ET.Element:
    return _tag(
        "header",
        _form("/api/servers", "Create a server", name="orders", image="of this image, or empty"),
        _form("/api/batches", "Create a batch", prefix="shard", count="5"),
        _form("/api/images", "Create an image", name="nightly", server="of this server"),
        _tag("p", id="said", role="status"),
    )


def _form(action: str, label: str, **fields: str) -> ET.Element:
    inputs = [_tag("input", name=name, placeholder=hint, autocomplete="off") for name, hint in fields.items()]
    return _tag("form", *inputs, _tag("button", label), data_path=action)


def _server(view: ServerView) -> ET.Element:
    record, health = view.record, view.health
    address = "" if record.endpoint is None else f"{record.endpoint.host}:{record.endpoint.port}"
    said = "" if health is None else health.detail
    mood = "not looked at yet" if health is None else "healthy" if health.healthy else "unhealthy"
    path = f"/api/servers/{quote(record.name, safe='')}"
    return _tag(
        "tr",
        _tag("td", record.name),
        _tag("td", record.state.value, _aside(record.error), class_="bad" if record.error else ""),
        _tag("td", mood, _aside(said), class_=mood),
        _tag("td", address, _aside(record.server_id)),
        _tag("td", *_behind(view.creation)),
        _tag("td", *_behind(view.actor)),
        _tag("td", _button("Check now", "POST", f"{path}/check"), _button("Delete", "DELETE", path)),
    )


def _behind(status: InstanceStatus[object] | None) -> Iterable[_Content]:
    """The orchestration behind something: a link to its history, and what it is at."""
    if status is None:
        return ("",)
    what = f" {status.version or ''} {status.status.value}, execution {status.execution_id}"
    return (_link_to_history(status.instance_id), what, _aside(_words(status)))


def _image(image: ImageRecord) -> ET.Element:
    return _tag(
        "tr",
        _tag("td", image.name),
        _tag("td", image.server_name),
        _tag("td", image.state.value),
        _tag("td", f"{image.size_bytes / 1_000_000:.1f}"),
        _tag("td", _button("Delete", "DELETE", f"/api/images/{quote(image.name, safe='')}")),
    )


def _instance(status: InstanceStatus[object]) -> ET.Element:
    return _tag(
        "tr",
        _tag("td", _link_to_history(status.instance_id)),
        _tag("td", f"{status.name} {status.version or ''}"),
        _tag("td", str(status.execution_id)),
        _tag("td", status.status.value, class_="bad" if status.error or status.held_because else ""),
        _tag("td", _words(status)),
    )


def _words(status: InstanceStatus[object]) -> str:
    if status.error is not None:
        return status.error.summary
    if status.held_because is not None:
        return status.held_because
    custom = status.custom_status
    if isinstance(custom, dict):
        return ", ".join(f"{key}: {value}" for key, value in custom.items())
    return "" if custom is None else str(custom)


def _link_to_history(instance_id: str) -> ET.Element:
    return _tag("a", instance_id, href=f"/api/orchestrations/{quote(instance_id, safe='')}/history")


def _button(label: str, method: str, path: str) -> ET.Element:
    return _tag("button", label, type="button", data_method=method, data_path=path)


def _aside(text: str | None) -> _Content:
    return _tag("small", text) if text else ""


def _table(heads: Sequence[str], rows: Sequence[ET.Element], *, empty: str) -> ET.Element:
    if not rows:
        return _tag("p", empty)
    return _tag("table", _tag("thead", _tag("tr", *(_tag("th", head) for head in heads))), _tag("tbody", *rows))


def _tag(kind: str, /, *children: _Content, **attributes: str) -> ET.Element:
    """An element; `class_` and `data_path` are written `class` and `data-path`."""
    element = ET.Element(kind, {key.strip("_").replace("_", "-"): text for key, text in attributes.items() if text})
    for child in children:
        if isinstance(child, str):
            _append_text(element, child)
        else:
            element.append(child)
    return element


def _append_text(element: ET.Element, text: str) -> None:
    if len(element):
        element[-1].tail = (element[-1].tail or "") + text
    else:
        element.text = (element.text or "") + text
