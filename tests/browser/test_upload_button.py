"""The button that takes files, in a bare page: chosen, dropped, pasted, cancelled, refused."""

import contextlib

import pytest

from fxexplore.notebook.feature_maps.upload_button import UploadButton

# Hand a file to the page as a drag, a drop or the clipboard does.
GIVE = """
([event, name, text, where]) => {
    const data = new DataTransfer();
    if (name) data.items.add(new File([text], name));
    else data.setData("text/plain", text);
    const options = { bubbles: true, cancelable: true };
    const Kind = event === "paste" ? ClipboardEvent : DragEvent;
    const field = event === "paste" ? "clipboardData" : "dataTransfer";
    const given = new Kind(event, { ...options, [field]: data });
    return !document.querySelector(where).dispatchEvent(given);
}
"""


@pytest.fixture
def upload():
    """A button that keeps what it hands on."""
    files, problems = [], []
    upload = UploadButton(
        lambda *file: files.append(file), problems.append, slice_bytes=1000, most_bytes=100_000,
        zone="#host", title="A picture",
    )  # fmt: skip
    upload.files, upload.problems = files, problems
    yield upload
    assert problems == []


@pytest.fixture
def host(widget_page, upload):
    return widget_page.show(upload)


def choose(widget_page, host, content, name="cat.png"):
    with widget_page.page.expect_file_chooser() as chooser:
        host.get_by_role("button", name="Upload").click()
    file = {"name": name, "mimeType": "image/png", "buffer": content}
    chooser.value.set_files(file)


@contextlib.contextmanager
def held(upload):
    """A kernel that is busy: what is sent is taken when the block ends."""
    messages = []
    take, upload.take = upload.take, lambda *message: messages.append(message)
    try:
        yield messages
    finally:
        upload.take = take
        for message in messages:
            take(*message)


def give(widget_page, event, name, text, where="#host button"):
    """Whether the page handled the event."""
    return widget_page.page.evaluate(GIVE, [event, name, text, where])


@pytest.mark.parametrize("size", [1, 1000, 2500])
def test_a_file_arrives_slice_by_slice_as_it_was(widget_page, upload, host, size):
    content = (bytes(range(256)) * 10)[:size]
    choose(widget_page, host, content)
    widget_page.wait_for(lambda: upload.files == [("cat.png", content)])
    sent = [m["content"] for m in widget_page.messages if m["method"] == "custom"]
    assert [message["at"] for message in sent] == list(range(0, size, 1000))
    choose(widget_page, host, content)  # the same file again
    widget_page.wait_for(lambda: len(upload.files) == 2)


def test_it_works_by_keyboard_and_says_what_it_is(widget_page, host):
    page = widget_page.page
    choosers = []

    def on_chooser(chooser):
        choosers.append(chooser)

    page.on("filechooser", on_chooser)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Upload"
    page.keyboard.press("Enter")
    widget_page.wait_for(lambda: choosers)
    assert page.evaluate("fxxHandledKeys") == ["Tab"]  # Enter is no shortcut of the notebook
    page.keyboard.press("Tab")
    assert host.locator(":focus").count() == 0  # the hidden field is not in the Tab order
    assert host.get_by_role("button").get_attribute("title") == "A picture"


def test_sending_is_seen_and_can_be_cancelled(widget_page, upload, host):
    with held(upload) as messages:
        choose(widget_page, host, b"x" * 2500)
        host.get_by_role("button", name="Cancel").wait_for()
        assert host.get_by_role("status").inner_text() == "sending cat.png, 3 kB"
        assert host.get_by_role("progressbar", name="cat.png, sent").count() == 1
        widget_page.screenshot("upload-sending")
        host.get_by_role("button", name="Cancel").click()
        widget_page.wait_for(lambda: messages[-1][0]["type"] == "cancel")
        assert host.get_by_role("progressbar").count() == 0
        assert host.get_by_role("button", name="Upload").evaluate("e => e.matches(':focus')")
    assert upload.files == []
    choose(widget_page, host, b"y" * 2500)
    widget_page.wait_for(lambda: upload.files == [("cat.png", b"y" * 2500)])


def test_a_kernel_that_is_busy_is_waited_for(widget_page, upload, host):
    with held(upload):
        choose(widget_page, host, b"x" * 2500)
        host.get_by_text("the kernel is busy; cat.png waits").wait_for()
    widget_page.wait_for(lambda: upload.files == [("cat.png", b"x" * 2500)])
    host.get_by_role("progressbar").wait_for(state="hidden")


def test_a_newer_file_is_sent_instead(widget_page, upload, host):
    with held(upload):
        choose(widget_page, host, b"old" * 2000, "old.png")
        choose(widget_page, host, b"new" * 2000, "new.png")
    widget_page.wait_for(lambda: upload.files)
    assert upload.files == [("new.png", b"new" * 2000)]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "cat.png is empty; choose another file."),
        (
            b"x" * 100_001,
            (
                "cat.png has 101 kB, and at most 100 kB are taken. "
                "Make it smaller, or name a variable with its path."
            ),
        ),
    ],
)
def test_what_cannot_be_taken_is_refused_at_once(widget_page, upload, host, content, words):
    choose(widget_page, host, content)
    alert = host.get_by_role("alert")
    alert.get_by_text(words).wait_for()
    widget_page.screenshot("upload-refused")
    assert all(message["method"] == "update" for message in widget_page.messages)
    widget_page.wait_for(lambda: upload.refused == words)
    upload.refused = ""  # the kernel is busy
    alert.get_by_text(words).wait_for(state="hidden")
    choose(widget_page, host, content)
    alert.get_by_text(words).wait_for()
    choose(widget_page, host, b"x" * 100_000)
    widget_page.wait_for(lambda: upload.files == [("cat.png", b"x" * 100_000)])
    assert upload.refused == ""


@pytest.mark.always
@pytest.mark.parametrize("event", ["drop", "paste"])
def test_a_file_is_dropped_or_pasted(widget_page, upload, host, event):
    assert give(widget_page, event, "cat.png", "abc" * 1000)
    widget_page.wait_for(lambda: upload.files == [("cat.png", b"abc" * 1000)])
    assert not give(widget_page, event, "", "some text")
    assert not give(widget_page, event, "cat.png", "abc", "h1")
    assert host.get_by_role("alert").count() == 0
    assert len(upload.files) == 1


def test_the_panel_shows_that_a_file_can_be_dropped_on_it(widget_page, host):
    def is_marked():
        return "fxx-dropping" in (host.get_attribute("class") or "")

    assert not give(widget_page, "dragover", "", "some text")
    assert not is_marked()
    assert give(widget_page, "dragover", "cat.png", "abc")
    assert is_marked()
    give(widget_page, "dragleave", "cat.png", "abc")
    assert not is_marked()


def test_what_takes_no_file_says_so(widget_page, upload, host):
    upload.disabled = True
    assert host.get_by_role("button").is_disabled()
    assert give(widget_page, "drop", "cat.png", "abc", "#host")  # else the page would be left
    host.get_by_text("This model takes no picture.").wait_for()


def test_a_kernel_that_goes_meanwhile_is_told(widget_page, upload, host):
    with held(upload) as messages:
        choose(widget_page, host, b"x" * 2500)
        host.get_by_role("progressbar").wait_for()
        widget_page.disconnect()
        host.get_by_text("The kernel is gone, and cat.png was not sent.").wait_for()
        assert host.get_by_role("progressbar").count() == 0
        messages.clear()


def test_untrusted_text_is_shown_as_text(widget_page, host):
    choose(widget_page, host, b"", "<img src=x onerror='console.error(1)'>.png")
    host.get_by_role("alert").get_by_text("is empty").wait_for()
    assert host.locator("img").count() == 0
